/** Nodes for the mesh's tests: their keys, their entry in the map, and an engine that acts in a namespace and records what it does. */

import { type Clock, systemClock } from '../../agent/clock.ts'
import type { AgentPeer } from '../../agent/mesh/agent-peer.ts'
import { SystemBackend } from '../../agent/mesh/backend.ts'
import { MeshEngine } from '../../agent/mesh/engine.ts'
import type { MeshEngineOptions } from '../../agent/mesh/engine-options.ts'
import type { Commands } from '../../agent/mesh/exec.ts'
import type { MapAck } from '../../agent/mesh/map-acks.ts'
import type { SealedSignal } from '../../agent/mesh/signals.ts'
import { importSealingKey } from '../../crypto/hpke.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { toBase32 } from '../../protocol/base32.ts'
import { FleetId, Ipv4, NodeId, NodeName, SealingKey, WireGuardKey } from '../../protocol/ids.ts'

export const FLEET = FleetId.parse(toBase32(new Uint8Array(16).fill(42)))
export const IPV4_RANGE = '10.100.0.0/16'

/** As the gateway says them. */
export const SETTINGS = { stun: [], relays: [], leaseMs: 60_000 }

export const nodeId = (n: number): NodeId =>
  NodeId.parse(toBase32(new Uint8Array(16).fill(n & 255).fill(n >> 8, 8)))

/** What one node keeps of itself, as text that can be handed to another process. */
export interface NodeSeed {
  readonly number: number
  readonly wireguard: string
  readonly sealing: string
}

export function newSeed(number: number): NodeSeed {
  const hex = () => Buffer.from(generateX25519().expose()).toString('hex')
  return { number, wireguard: hex(), sealing: hex() }
}

export async function selfOf({ number, wireguard, sealing }: NodeSeed) {
  const secret = (hex: string) => SecretBytes.take(new Uint8Array(Buffer.from(hex, 'hex')))
  const publicKey = async (hex: string) => x25519PublicKey(secret(hex))
  const id = nodeId(number)
  const ipv4 = Ipv4.parse(`10.100.0.${number}`)
  const entry: AgentPeer = {
    id,
    name: NodeName.parse(`node-${number}`),
    wg: WireGuardKey.parse(await publicKey(wireguard)),
    seal: SealingKey.parse(await publicKey(sealing)),
    ip4: ipv4,
  }
  const self = {
    id,
    ipv4,
    wireguard: { privateKey: secret(wireguard), publicKey: entry.wg },
    sealing: { privateKey: await importSealingKey(secret(sealing)) },
  }
  return { self, entry }
}

interface Call {
  readonly program: string
  readonly args: readonly string[]
  readonly input: string
}

const recording = (commands: Commands, calls: Call[]): Commands => ({
  ...commands,
  run: (program, args, input) => {
    calls.push({ program, args, input: Buffer.from(input ?? []).toString('latin1') })
    return commands.run(program, args, input)
  },
})

export interface TestNodeOptions {
  readonly seed: NodeSeed
  readonly commands: Commands
  readonly stateDirectory: string
  readonly iface: string
  readonly clock?: Clock
  readonly cache?: string | undefined
  readonly change?: Partial<MeshEngineOptions>
}

export async function testNode(options: TestNodeOptions) {
  const { seed, stateDirectory, iface, clock = systemClock } = options
  const calls: Call[] = []
  const sent: SealedSignal[] = []
  const acks: MapAck[] = []
  const saved = { cache: options.cache }
  const warnings: string[] = []
  const commands = recording(options.commands, calls)
  const { self, entry } = await selfOf(seed)
  const publicKey = self.wireguard.publicKey
  const engine = new MeshEngine({
    fleet: { id: FLEET, ipv4Range: IPV4_RANGE },
    self,
    iface,
    listenPort: 51_820,
    commands,
    backend: new SystemBackend({ commands, iface, publicKey, stateDirectory, userspace: true }),
    clock,
    log: { debug: () => {}, info: () => {}, warn: (text) => void warnings.push(text), error: () => {} },
    lease: { state: 'lasts' },
    loadCache: () => saved.cache,
    saveCache: (text) => {
      saved.cache = text
    },
    sendSignals: (signals) => void sent.push(...signals),
    sendAck: (ack) => void acks.push(ack),
    ...options.change,
  })
  return {
    engine,
    entry,
    seed,
    calls,
    sent,
    acks,
    saved,
    warnings,
    iface,
    /** Another WireGuard key is the one in force. */
    take(key: typeof self.wireguard) {
      self.wireguard = key
      entry.wg = key.publicKey
    },
  }
}

export type TestNode = Awaited<ReturnType<typeof testNode>>

/** The gateway's part: each node is told of all others, and signals go where they are addressed. */
export function connect(nodes: readonly TestNode[], seq = 1): void {
  for (const node of nodes) {
    node.engine.onConnected(SETTINGS)
    const put = nodes.filter((other) => other !== node).map(({ entry }) => entry)
    node.engine.applyChanges({ epoch: 'test', to: seq, put })
  }
}

/** Delivers what has been sent since the last time. */
export async function carrySignals(nodes: readonly TestNode[]): Promise<number> {
  let carried = 0
  for (const from of nodes) {
    for (const { to, sealed } of from.sent.splice(0)) {
      await nodes.find(({ entry }) => entry.id === to)?.engine.onSignal(from.entry.id, sealed)
      carried++
    }
  }
  return carried
}
