/** Guards of what is seen of the mesh, and of peers without an agent, and the tests that must notice when one is lost. */
import { type Mutation, mutate } from './mutation.ts'

const ACKS = ['host', 'mesh/acks.test.ts'] as const
const MAP = ['host', 'mesh/map.test.ts'] as const
const LAZY = ['host', 'mesh/lazy-peers.test.ts'] as const
const ANSWERS = ['host', 'mesh/answers.test.ts'] as const
const HASH = ['host', 'both/mesh-hash.test.ts'] as const
const WATCH = ['gateway', 'gateway/mesh-watch.test.ts'] as const

export const WATCHED_MESH: readonly Mutation[] = [
  mutate(
    'a map is acknowledged when it is heard',
    [
      'agent/mesh/engine.ts',
      '    this.#accept()\n    this.#map.saveSoon()',
      '    this.#accept()\n    if (this.#map.ack) this.#acks.applied(this.#map.ack)\n    this.#map.saveSoon()',
    ],
    ACKS,
  ),
  mutate(
    'every change is acknowledged by itself',
    ['agent/mesh/map-acks.ts', '!this.#connected || this.#pause !== undefined ||', '!this.#connected ||'],
    ACKS,
  ),
  mutate(
    'a new session is told nothing',
    [
      'agent/mesh/map-acks.ts',
      'this.#connected = true\n    this.#sent = undefined',
      'this.#connected = true',
    ],
    ACKS,
  ),
  mutate(
    'a place that moves acknowledges what is not applied',
    [
      'agent/mesh/map-acks.ts',
      'if (this.#applied?.hash === ack.hash) this.applied(ack)',
      'this.applied(ack)',
    ],
    ACKS,
  ),
  mutate(
    'a map keeps the hash that it had',
    [
      'agent/mesh/map.ts',
      'if (this.#hashed?.peers !== peers || this.#hashed.rules !== rules)',
      'if (this.#hashed === undefined)',
    ],
    MAP,
  ),
  mutate(
    'the hash of a map depends on the order of fields',
    ['crypto/mesh-hash.ts', '.sort(([a], [b]) => (a < b ? -1 : 1))', ''],
    HASH,
  ),
  mutate(
    'the hash of a map does not have its rules',
    ['crypto/mesh-hash.ts', "(rules ? entryHash('rules', canonical(rules)) : 0n)", '(rules ? 0n : 0n)'],
    HASH,
  ),
  mutate(
    'an acknowledgement of another epoch is compared',
    ['durable-objects/mesh-acks.ts', 'mesh?.epoch !== epoch || mesh.seq !== seq', 'mesh?.seq !== seq'],
    WATCH,
  ),
  mutate(
    'an acknowledgement that is overtaken is compared',
    ['durable-objects/mesh-acks.ts', ' || mesh.seq !== seq)', ')'],
    WATCH,
  ),
  mutate(
    'a wrong map is sent anew for ever',
    ['durable-objects/mesh-acks.ts', '    if (session.diverged) return\n', ''],
    WATCH,
  ),
  mutate(
    'a wrong map is sent anew in silence',
    ['durable-objects/mesh-acks.ts', "'mesh.diverged'", "'mesh.sent'"],
    WATCH,
  ),
  mutate(
    'a node outside of the mesh acknowledges',
    [
      'durable-objects/session-shard.ts',
      "          return this.#ends.violation(socket, 'E_FRAME_OUT_OF_ORDER')\n        return this.#acks",
      '          return\n        return this.#acks',
    ],
    WATCH,
  ),
  mutate(
    'the gateway’s own hash misses what was there',
    ['durable-objects/map-hash.ts', 'if (before !== undefined) this.#change(before, takePeer)', ''],
    WATCH,
  ),
  mutate(
    'any node may answer for another',
    [
      'durable-objects/node-questions.ts',
      'this.#open.get(node)?.get(request)?.(answer)',
      'for (const open of this.#open.values()) open.get(request)?.(answer)',
    ],
    WATCH,
  ),
  mutate(
    'a node is asked without end',
    ['durable-objects/node-questions.ts', 'open.size >= MAX_MESH_QUESTIONS || ', ''],
    WATCH,
  ),
  mutate(
    'a question is not in the trail',
    [
      'worker/routes/mesh-status.ts',
      "    await audit(c, { actor: c.var.actor, action: 'mesh.ping', target, detail: { to: peer.id } })\n",
      '    void target\n',
    ],
    WATCH,
  ),
  mutate(
    'a viewer lets devices in',
    [
      'worker/routes/mesh-peers.ts',
      ".post('/', requireRole('operator'), async (c) => {",
      ".post('/', async (c) => {",
    ],
    WATCH,
  ),
  mutate(
    'a device takes the name of another',
    [
      'durable-objects/external-peers.ts',
      "if (this.#has('name = ? AND removed_at IS NULL', name)) return err(refusal('E_PEER_NAME_TAKEN'))",
      '',
    ],
    WATCH,
  ),
  mutate(
    'a device takes the key of another',
    [
      'durable-objects/external-peers.ts',
      "if (this.#has('?1 IN (wg_key, wg_next)', wg)) return err(refusal('E_KEY_IN_USE'))",
      '',
    ],
    WATCH,
  ),
  mutate(
    'a device reads secrets by its tags',
    [
      'durable-objects/node-registry.ts',
      'removed_at IS NULL AND quarantine IS NULL AND external = 0 ORDER BY name',
      'removed_at IS NULL AND quarantine IS NULL ORDER BY name',
    ],
    WATCH,
  ),
  mutate(
    'a device is in the list of nodes',
    [
      'durable-objects/node-registry.ts',
      'removed_at IS NULL AND external = 0 AND name > ?',
      'removed_at IS NULL AND name > ?',
    ],
    WATCH,
  ),
  mutate(
    'a device has a sealing key',
    [
      'durable-objects/mesh-frames.ts',
      '...(row.external === 0 && { seal: row.sealing_key }),',
      'seal: row.sealing_key,',
    ],
    WATCH,
  ),
  mutate(
    'a node takes the name of a device',
    ['durable-objects/node-enrolment.ts', ' && this.#externalPeers.byName(name) === undefined', ''],
    WATCH,
  ),
  mutate(
    'a removed device stays in the map',
    [
      'durable-objects/external-peers.ts',
      'SET removed_at = ?, mesh = 0 WHERE id = ? AND external = 1',
      'SET agent = ? WHERE id = ? AND external = 1',
    ],
    WATCH,
  ),
  mutate(
    'a key of low order is let in',
    [
      'worker/routes/mesh-peers.ts',
      'if (!(await isSafeX25519(peer.wg))) throw',
      'if (peer.wg.length === 0) throw',
    ],
    WATCH,
  ),
  mutate(
    'a node pings whoever it is told to',
    [
      'agent/mesh/answers.ts',
      "if (peer === undefined) return { kind: 'refusal', code: 'unknown_peer' }",
      "if (peer === undefined) return { kind: 'refusal', code: 'ping_failed' }",
    ],
    ANSWERS,
  ),
  mutate(
    'a node runs as many commands as it is asked to',
    ['agent/mesh/answers.ts', 'if (this.#running >= MAX_MESH_QUESTIONS) return undefined', ''],
    ANSWERS,
  ),
  mutate(
    'a page of pairs is as long as it gets',
    ['agent/mesh/pair-report.ts', 'rest.slice(0, MESH_REPORT_PAIRS)', 'rest'],
    ANSWERS,
  ),
  mutate(
    'thousands of peers are kept alive',
    ['agent/mesh/device-peers.ts', 'if (among > LAZY_ABOVE && !active)', 'if (among < 0 && !active)'],
    LAZY,
  ),
  mutate(
    'keepalives are traffic',
    ['agent/mesh/peer-traffic.ts', '(actual?.keepalive ?? 0) > 0 ? UPKEEP_BYTES : 0', '0'],
    LAZY,
  ),
  mutate(
    'a phone is called for ever',
    [
      'agent/mesh/device-peers.ts',
      'if (!hasAgent(peer)) return { endpoint: undefined, reset: false, keepalive: 0 }',
      'if (!hasAgent(peer)) return { endpoint: undefined, reset: false, keepalive: 25 }',
    ],
    LAZY,
  ),
]
