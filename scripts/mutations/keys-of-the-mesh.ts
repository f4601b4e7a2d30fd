/** Guards of the mesh's keys and of its lease, and the tests that must notice when one is lost. */
import { type Edit, type Mutation, mutate } from './mutation.ts'

const of = (name: string, edit: Edit, test: string, project: Mutation['project'] = 'host'): Mutation =>
  mutate(name, edit, [project, test])

const GATEWAY = 'gateway/wireguard-key.test.ts'
const ROTATION = 'agent/wireguard-rotation.test.ts'
const NETNS = 'mesh/key-rotation.netns.test.ts'
const PSK = 'mesh/psk-agreement.test.ts'
const LEASE = 'mesh/map-lease.test.ts'
const KEYS = 'durable-objects/wireguard-keys.ts'
const AGREEMENT = 'agent/mesh/psk-agreement.ts'
const MAP_LEASE = 'agent/mesh/map-lease.ts'

export const KEYS_OF_THE_MESH: readonly Mutation[] = [
  of(
    "another's announced WireGuard key can be announced, too",
    [KEYS, 'OR (wg_next = ? AND id != ?)', 'OR (wg_next = ? AND id != ? AND 1 = 0)'],
    GATEWAY,
    'gateway',
  ),
  of(
    'a WireGuard key is used that was never announced',
    [KEYS, 'row.wg_next !== key || row.identity_key', 'row.identity_key'],
    GATEWAY,
    'gateway',
  ),
  of(
    'a node joins with the announced key of another',
    [
      'durable-objects/node-enrolment.ts',
      'WHERE wg_key = ? OR wg_next = ? OR',
      'WHERE wg_key = ? OR (wg_next = ? AND 1 = 0) OR',
    ],
    GATEWAY,
    'gateway',
  ),
  of(
    'a low-order WireGuard key is announced',
    ['worker/routes/node-wireguard-key.ts', 'if (!(await isSafeX25519(key)))', 'if (false)'],
    GATEWAY,
    'gateway',
  ),
  of(
    'the entry of a used key does not say it',
    ['worker/routes/node-wireguard-key.ts', "...(step === 'use' && { detail })", ''],
    GATEWAY,
    'gateway',
  ),
  of(
    'the lease is not signed',
    ['crypto/gateway-proof.ts', '    String(session.leaseMs),\n', ''],
    'gateway/identity.test.ts',
    'gateway',
  ),
  of(
    'a key is in force on disk only after the interface has it',
    ['agent/wireguard-rotation.ts', '        putNextWireguardInForce(directory)\n', ''],
    ROTATION,
  ),
  of(
    'the key before stays in memory',
    ['agent/wireguard-rotation.ts', '        before.privateKey.wipe()\n', ''],
    ROTATION,
  ),
  of(
    'a key that is due does not wait for peers',
    ['agent/wireguard-rotation.ts', 'overdueMs === undefined || overdueMs < PATIENCE_MS', 'false'],
    ROTATION,
  ),
  of(
    'the key is swapped although nobody can be told',
    ['agent/mesh/key-handover.ts', "if (!isConnected()) return 'no gateway'", ''],
    'mesh/key-handover.test.ts',
  ),
  of(
    'a key that is announced is not listened to',
    ['agent/mesh/key-succession.ts', 'next === undefined || next === wg ||', 'true ||'],
    NETNS,
  ),
  of(
    'a pre-shared key does not move with the addresses',
    [
      'agent/mesh/key-succession.ts',
      'hasPsk === true ? device.readPsk(publicKey)',
      'hasPsk !== hasPsk ? device.readPsk(publicKey)',
    ],
    NETNS,
  ),
  of(
    'the one that offered takes a key that the other does not have',
    [AGREEMENT, 'if (equal(tag, agreed.responderTag))', 'if (true)'],
    PSK,
  ),
  of(
    'a key is taken whatever the confirmation says',
    [
      AGREEMENT,
      'if (agreed === undefined || !equal(tag, agreed[side])) return',
      'if (agreed === undefined) return',
    ],
    PSK,
  ),
  of(
    'a pre-shared key is given to one that does not want it',
    [AGREEMENT, 'if (!isWanted) return\n    for', 'for'],
    PSK,
  ),
  of(
    'a pre-shared key is not of these WireGuard keys',
    ['crypto/pair-psk.ts', '    initiator.wg,\n    responder.wg,\n', ''],
    PSK,
  ),
  of(
    'keys that differ are kept for ever',
    [AGREEMENT, 'else if (now - since > HEAL_MS)', 'else if (now - since > HEAL_MS * 1000)'],
    PSK,
  ),
  of(
    'a restart gives the whole lease again',
    [MAP_LEASE, 'note.leftMs - Math.max(0, byWall, byBoot)', 'note.grantedMs'],
    LEASE,
  ),
  of(
    'a clock that was set back is believed',
    [MAP_LEASE, 'if (Math.min(byWall, byBoot) < -CLOCK_STEP_MS)', 'if (byBoot < byBoot)'],
    LEASE,
  ),
  of(
    'a lease runs by timers alone',
    [
      MAP_LEASE,
      "return this.#state === 'lasts' && this.#leftMs() <= 0 ? 'over' : this.#state",
      'return this.#state',
    ],
    LEASE,
  ),
  of(
    'a map is used without a lease',
    ['agent/mesh/held-map.ts', "lease.state === 'lasts' ? this.#map.peers", 'true ? this.#map.peers'],
    'mesh/map-lease.netns.test.ts',
  ),
]
