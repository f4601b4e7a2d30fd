/** Above some hundreds of peers only those are kept reachable that this node talks to. */
import { describe, expect, test, vi } from 'vitest'
import type { AgentPeer } from '../../agent/mesh/agent-peer.ts'
import { LAZY_ABOVE, PeerTraffic } from '../../agent/mesh/peer-traffic.ts'
import type { ActualPeer } from '../../agent/mesh/reconcile.ts'
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import { type Signal, sealSignal } from '../../crypto/signal.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { Endpoint, Ipv4, NodeName, SealingKey, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { startFakeNode } from './fake-node.ts'
import { FLEET, newSeed, nodeId, SETTINGS, selfOf } from './mesh-node.ts'

const THERE = Endpoint.parse('198.18.0.9:51820')
const soon = { timeout: 10_000, interval: 10 }

async function fleetOf(count: number): Promise<AgentPeer[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, index) => ({
      id: nodeId(index + 10),
      name: NodeName.parse(`peer-${index}`),
      wg: WireGuardKey.parse(await x25519PublicKey(generateX25519())),
      seal: SealingKey.parse('s'.repeat(42).concat('A')),
      ip4: Ipv4.parse(`10.100.${1 + Math.floor(index / 250)}.${1 + (index % 250)}`),
    })),
  )
}

async function engineWith(count: number) {
  const node = await startFakeNode()
  const { clock, wireguard } = node
  const { self, entry } = await selfOf(newSeed(2))
  const put: MeshPeer[] = [...(await fleetOf(count - 1)), entry]
  node.engine.applyChanges({ epoch: 'e', to: 1, put })
  await vi.waitFor(() => expect(wireguard.peers.size).toBe(count), soon)
  const route = { fleet: FLEET, from: entry.id, to: node.entry.id }
  const says: Signal = {
    kind: 'endpoints',
    endpoints: [THERE],
    mapped: [],
    nat: 'unknown',
    probes: false,
    reply: false,
    at: 1_000,
  }
  const sealed = await sealSignal(node.entry.seal, says, route, self.sealing.privateKey)
  await node.engine.onSignal(entry.id, sealed)
  const key = base64UrlToBase64(entry.wg)
  await vi.waitFor(() => expect(wireguard.peers.get(key)?.endpoint).toBe(THERE), soon)
  const peer = wireguard.peers.get(key)
  if (peer === undefined) throw new Error('no peer')
  const look = async () => {
    const { reads } = wireguard
    await vi.waitFor(() => {
      clock.advance(10_000)
      expect(wireguard.reads).toBeGreaterThan(reads)
    }, soon)
  }
  return { ...node, peer, look }
}

describe('in a large fleet', () => {
  test('a peer without traffic may be called, and is not kept alive; with traffic it is, and later no more', async () => {
    const { engine, wireguard, peer, look, clock, calls } = await engineWith(LAZY_ABOVE + 1)
    expect(peer.keepalive).toBe('off')
    expect([...wireguard.peers.values()].every(({ keepalive }) => keepalive === 'off')).toBe(true)
    const { writes } = wireguard
    await look()
    await look()
    expect(wireguard.writes).toBe(writes)
    peer.bytes = 148
    await vi.waitFor(async () => {
      await look()
      expect(peer.keepalive).toBe('25')
    }, soon)
    // Keepalives and handshakes alone are no traffic.
    peer.lastHandshake = Math.floor(clock.now() / 1000)
    for (let looks = 0; looks < 40 && peer.keepalive === '25'; looks++) {
      peer.bytes += 300
      peer.lastHandshake = Math.floor(clock.now() / 1000)
      await look()
    }
    await vi.waitFor(() => expect(peer.keepalive).toBe('0'), soon)
    // All peers came in one command.
    expect(calls.filter(({ program, args }) => program === 'wg' && args[0] === 'addconf')).toHaveLength(1)
    await engine.stop({ keepInterface: true })
  })

  test('which a small one is not', async () => {
    const { engine, peer } = await engineWith(3)
    await vi.waitFor(() => expect(peer.keepalive).toBe('25'), soon)
    await engine.stop({ keepInterface: true })
  })
})

describe('a peer without an agent', () => {
  test('is on the interface, is told nothing, and is not kept alive', async () => {
    const { engine, wireguard, sent } = await engineWith(3)
    const [phone] = await fleetOf(30)
    if (phone === undefined) throw new Error('no peer')
    const { seal: _, ...external } = { ...phone, id: nodeId(99), ip4: Ipv4.parse('10.100.9.9') }
    engine.onConnected(SETTINGS)
    engine.applyChanges({ epoch: 'e', from: 1, to: 2, put: [external] })
    const key = base64UrlToBase64(external.wg)
    await vi.waitFor(() => expect(wireguard.peers.has(key)).toBe(true), soon)
    const found = wireguard.peers.get(key)
    if (found === undefined) throw new Error('no peer')
    Object.assign(found, { endpoint: THERE, lastHandshake: Math.floor(Date.now() / 1000) })
    engine.applyChanges({ epoch: 'e', from: 2, to: 3, del: [nodeId(10)] })
    await vi.waitFor(() => expect(wireguard.peers.size).toBe(3), soon)
    expect(found.keepalive).toBe('off')
    expect(sent.some(({ to }) => to === external.id)).toBe(false)
    expect(engine.reachability.summary.paths).toEqual({ none: 2 })
    await engine.onSignal(external.id, 'AAAA')
    expect((await engine.status()).ignoredSignals).toEqual({ unknownSender: 1 })
    await engine.stop({ keepInterface: true })
  })
})

test('traffic is what moves beyond what WireGuard needs for itself', () => {
  const clock = new ManualClock()
  const traffic = new PeerTraffic(clock)
  const id = nodeId(1)
  const peer = (bytes: number, keepalive: number): ActualPeer => ({
    publicKey: WireGuardKey.parse(`${'a'.repeat(42)}A`),
    allowedIps: [],
    endpoint: undefined,
    keepalive,
    lastHandshake: 0,
    rxBytes: bytes,
    txBytes: 0,
  })
  const looks: [number, number, boolean][] = [
    [5_000, 25, false],
    [5_400, 25, false],
    [5_401, 0, true],
    [5_401, 25, true],
  ]
  for (const [bytes, keepalive, active] of looks) {
    clock.advance(10_000)
    expect(traffic.isActive(id, peer(bytes, keepalive))).toBe(active)
  }
  clock.advance(300_000)
  expect(traffic.isActive(id, peer(0, 25))).toBe(false)
  expect(traffic.isActive(id, peer(600, 25))).toBe(true)
  traffic.forgetAllBut(new Set())
  expect(traffic.isActive(id, peer(600, 25))).toBe(false)
})
