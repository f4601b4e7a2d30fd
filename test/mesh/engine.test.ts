import { describe, expect, test, vi } from 'vitest'
import type { AgentPeer } from '../../agent/mesh/agent-peer.ts'
import type { SealedSignal } from '../../agent/mesh/signals.ts'
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import { type EndpointsSignal, openSignal, sealSignal } from '../../crypto/signal.ts'
import { nodeIpv6 } from '../../protocol/addresses.ts'
import { Endpoint, type NodeId, SealingKey } from '../../protocol/ids.ts'
import { MAX_SIGNALS_PER_FRAME } from '../../protocol/limits.ts'
import { startFakeNode } from './fake-node.ts'
import { FLEET, newSeed, SETTINGS, selfOf } from './mesh-node.ts'

const HERE = '198.18.0.1:51820'
const THERE = Endpoint.parse('198.18.0.2:51820')

async function engine(options: { cache?: string; number?: number } = {}) {
  const batches: SealedSignal[][] = []
  const node = await startFakeNode({
    ...options,
    change: { sendSignals: (signals) => void batches.push(signals) },
  })
  const settled = async (check: () => void | Promise<void>) =>
    vi.waitFor(check, { timeout: 5_000, interval: 5 })
  return { ...node, batches, settled }
}

async function otherNode(number: number) {
  const { self, entry } = await selfOf(newSeed(number))
  const route = { from: entry.id, fleet: FLEET }
  return {
    entry,
    key: base64UrlToBase64(entry.wg),
    signal: (to: AgentPeer, content: Partial<EndpointsSignal>, change: { from?: NodeId; to?: NodeId } = {}) =>
      sealSignal(
        to.seal,
        {
          kind: 'endpoints',
          endpoints: [THERE],
          mapped: [],
          nat: 'unknown',
          probes: false,
          reply: false,
          at: 1_000,
          ...content,
        },
        { ...route, to: to.id, ...change },
        self.sealing.privateKey,
      ),
    open: async (sealed: string, from: AgentPeer) => {
      const way = { fleet: FLEET, from: from.id, to: entry.id }
      const opened = await openSignal(self.sealing.privateKey, sealed, way, from.seal)
      if (!opened.ok) throw new Error('not for this node')
      return opened.value
    },
  }
}

describe('peers of the map', () => {
  test('go onto the interface with one IPv4 and one IPv6 address each, and without an endpoint without keepalive (X28)', async () => {
    const { engine: mesh, wireguard, settled } = await engine()
    const two = await otherNode(2)
    expect(mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })).toBe('applied')
    await settled(() => expect(wireguard.peers.size).toBe(1))
    expect(wireguard.peers.get(two.key)).toMatchObject({
      allowedIps: `10.100.0.2/32,${nodeIpv6(FLEET, two.entry.id)}/128`,
      endpoint: '(none)',
      keepalive: 'off',
    })
    expect(mesh.applyChanges({ epoch: 'e', from: 1, to: 2, del: [two.entry.id] })).toBe('applied')
    await settled(() => expect(wireguard.peers.size).toBe(0))
  })

  test('are not disturbed by a gap or a repetition', async () => {
    const { engine: mesh, wireguard, settled } = await engine()
    const two = await otherNode(2)
    mesh.applyChanges({ epoch: 'e', to: 5, put: [two.entry] })
    await settled(() => expect(wireguard.peers.size).toBe(1))
    const { writes } = wireguard
    expect(mesh.applyChanges({ epoch: 'e', from: 7, to: 8, del: [two.entry.id] })).toBe('gap')
    expect(mesh.applyChanges({ epoch: 'e', from: 4, to: 5, del: [two.entry.id] })).toBe('duplicate')
    expect(mesh.position).toEqual({ epoch: 'e', seq: 5 })
    expect(wireguard.writes).toBe(writes)
  })

  test('never include this node itself', async () => {
    const { engine: mesh, entry, wireguard, settled } = await engine()
    const two = await otherNode(2)
    mesh.applyChanges({ epoch: 'e', to: 1, put: [entry, two.entry] })
    await settled(() => expect([...wireguard.peers.keys()]).toEqual([two.key]))
    expect(mesh.reachability).toMatchObject({ peers: 1, reachable: 0 })
  })

  test('come in bursts that share a run', async () => {
    const { engine: mesh, wireguard, settled } = await engine()
    const others = await Promise.all(Array.from({ length: 50 }, (_, n) => otherNode(n + 2)))
    const before = wireguard.reads
    mesh.applyChanges({ epoch: 'e', to: 0 })
    for (const [seq, { entry }] of others.entries()) {
      mesh.applyChanges({ epoch: 'e', from: seq, to: seq + 1, put: [entry] })
    }
    await settled(() => expect(wireguard.peers.size).toBe(50))
    expect(wireguard.reads - before).toBeLessThanOrEqual(2)
  })

  test('are shown as reachable only while their handshake is fresh (X29)', async () => {
    const { engine: mesh, wireguard, clock, settled } = await engine()
    const two = await otherNode(2)
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    await settled(() => expect(wireguard.peers.size).toBe(1))
    const peer = wireguard.peers.get(two.key)
    if (peer === undefined) throw new Error('no peer')
    peer.lastHandshake = Math.floor(clock.now() / 1000) - 170
    expect((await mesh.status()).peers[0]).toMatchObject({ path: 'direct' })
    peer.lastHandshake -= 20
    const [shown] = (await mesh.status()).peers
    expect(shown?.path).toBe('none')
    expect(shown?.lastHandshake).toBe(new Date(peer.lastHandshake * 1000).toISOString())
    peer.lastHandshake = 0
    expect((await mesh.status()).peers[0]).toMatchObject({ path: 'none', lastHandshake: null })
  })
})

describe('an interface that was lost and made anew', () => {
  test('gets the endpoints again at once', async () => {
    const { engine: mesh, entry, wireguard, clock, settled } = await engine()
    const two = await otherNode(2)
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    await mesh.onSignal(two.entry.id, await two.signal(entry, {}))
    await settled(() => expect(wireguard.peers.get(two.key)?.endpoint).toBe(THERE))
    wireguard.peers.clear()
    clock.advance(1_000)
    await settled(() =>
      expect(wireguard.peers.get(two.key)).toMatchObject({ endpoint: THERE, keepalive: '25' }),
    )
  })
})

describe('a command that fails', () => {
  test('is tried again, ever more slowly, is shown meanwhile, and stops nothing', async () => {
    const { engine: mesh, wireguard, clock, warnings, settled } = await engine()
    const two = await otherNode(2)
    wireguard.broken = true
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    await settled(async () => expect((await mesh.status()).lastError).toBe('wg exited with status 1: broken'))
    for (const wait of [500, 1_000, 2_000]) {
      const next = clock.scheduled((ms) => ms >= wait)
      clock.advance(wait)
      expect(await next).toBe(wait * 2)
    }
    expect(warnings).toHaveLength(1)
    wireguard.broken = false
    clock.advance(4_000)
    await settled(() => expect(wireguard.peers.size).toBe(1))
    await settled(async () => expect((await mesh.status()).lastError).toBeUndefined())
  })
})

describe('a peer that `wg` does not take', () => {
  test('costs the others nothing, is named, is not tried at every look, and is tried again', async () => {
    const { engine: mesh, wireguard, clock, warnings, settled } = await engine()
    const others = await Promise.all(Array.from({ length: 40 }, (_, n) => otherNode(n + 2)))
    const [bad, ...good] = others
    if (bad === undefined) throw new Error('no peers')
    wireguard.disliked.add(bad.key)
    mesh.applyChanges({ epoch: 'e', to: 1, put: others.map(({ entry }) => entry) })
    await settled(() => expect([...wireguard.peers.keys()].sort()).toEqual(good.map(({ key }) => key).sort()))
    await settled(async () => {
      const { lastError } = await mesh.status()
      expect(lastError).toContain(bad.entry.id)
      expect(lastError).toContain('wg exited with status 1: Key is not to my liking')
      expect(lastError).not.toContain(good[0]?.entry.id)
    })
    // Halving finds one among forty in a dozen commands, and nothing is repeated while it is left alone.
    const { writes } = wireguard
    expect(writes).toBeLessThan(20)
    const look = async () => {
      const { reads } = wireguard
      clock.advance(10_000)
      await settled(() => expect(wireguard.reads).toBeGreaterThan(reads))
      await mesh.status()
    }
    for (let i = 0; i < 3; i++) await look()
    expect(wireguard.writes).toBe(writes)
    expect(warnings).toHaveLength(1)

    wireguard.disliked.clear()
    for (let i = 0; i < 4; i++) await look()
    await settled(() => expect(wireguard.peers.has(bad.key)).toBe(true))
    await settled(async () => expect((await mesh.status()).lastError).toBeUndefined())
  })

  test('is no reason to hold back an endpoint of another', async () => {
    const { engine: mesh, entry, wireguard, settled } = await engine()
    const [two, three] = [await otherNode(2), await otherNode(3)]
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry, three.entry] })
    await settled(() => expect(wireguard.peers.size).toBe(2))
    wireguard.disliked.add(two.key)
    await mesh.onSignal(two.entry.id, await two.signal(entry, {}))
    await mesh.onSignal(three.entry.id, await three.signal(entry, {}))
    await settled(() => expect(wireguard.peers.get(three.key)?.endpoint).toBe(THERE))
  })
})

describe('peers that take what is not theirs', () => {
  test('stay off the interface, are named, and come back when it is free', async () => {
    const { engine: mesh, wireguard, batches, settled } = await engine()
    const [two, three] = [await otherNode(2), await otherNode(3)]
    const thief = { ...three.entry, ip4: two.entry.ip4 }
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry, thief] })
    mesh.onConnected(SETTINGS)
    await settled(() => expect([...wireguard.peers.keys()]).toEqual([two.key]))
    await settled(async () =>
      expect((await mesh.status()).lastError).toBe(
        `left out of the mesh: ${thief.id} (it claims an id, key or address of ${two.entry.id})`,
      ),
    )
    expect(mesh.reachability.peers).toBe(1)
    await settled(() => expect(batches.flat().map(({ to }) => to)).toEqual([two.entry.id]))

    mesh.applyChanges({ epoch: 'e', from: 1, to: 2, del: [two.entry.id] })
    await settled(() => expect([...wireguard.peers.keys()]).toEqual([three.key]))
    await settled(() => expect(batches.flat().map(({ to }) => to)).toEqual([two.entry.id, thief.id]))
    await settled(async () => expect((await mesh.status()).lastError).toBeUndefined())
  })
})

describe('signals', () => {
  test('tell the agent where a peer is', async () => {
    const { engine: mesh, entry, wireguard, settled } = await engine()
    const two = await otherNode(2)
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    await mesh.onSignal(two.entry.id, await two.signal(entry, {}))
    await settled(() =>
      expect(wireguard.peers.get(two.key)).toMatchObject({ endpoint: THERE, keepalive: '25' }),
    )
  })

  test('of two nodes let the one with the smaller id begin, because two beginnings undo each other', async () => {
    const { engine: mesh, entry, wireguard, clock, settled } = await engine({ number: 9 })
    const two = await otherNode(2)
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    await settled(() => expect(wireguard.peers.size).toBe(1))
    const { reads } = wireguard
    await mesh.onSignal(two.entry.id, await two.signal(entry, {}))
    await settled(() => expect(wireguard.reads).toBeGreaterThan(reads))
    expect(wireguard.peers.get(two.key)).toMatchObject({ endpoint: '(none)', keepalive: 'off' })
    await settled(() => {
      clock.advance(1_000)
      expect(wireguard.peers.get(two.key)).toMatchObject({ endpoint: THERE, keepalive: '25' })
    })
  })

  test('are ignored, and counted, from a stranger, for another, in another’s name, and when they are old', async () => {
    const { engine: mesh, entry, wireguard, settled } = await engine()
    const [two, three] = [await otherNode(2), await otherNode(3)]
    const ignored = async () => (await mesh.status()).ignoredSignals
    await mesh.onSignal(two.entry.id, await two.signal(entry, {}))
    expect(await ignored()).toEqual({ unknownSender: 1 })

    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry, three.entry] })
    await mesh.onSignal(three.entry.id, await two.signal(entry, {}, { from: three.entry.id }))
    await mesh.onSignal(two.entry.id, await two.signal(entry, {}, { to: three.entry.id }))
    await mesh.onSignal(two.entry.id, await two.signal(three.entry, {}, { to: entry.id }))
    await mesh.onSignal(two.entry.id, 'rubbish')
    expect(await ignored()).toEqual({ unknownSender: 1, unreadable: 4 })

    await mesh.onSignal(two.entry.id, await two.signal(entry, { at: 2_000 }))
    const late = await two.signal(entry, { at: 1_999, endpoints: [Endpoint.parse('198.18.0.66:1')] })
    await mesh.onSignal(two.entry.id, late)
    await mesh.onSignal(two.entry.id, await two.signal(entry, { at: 2_000 }))
    expect(await ignored()).toEqual({ unknownSender: 1, unreadable: 4, old: 2 })
    await settled(() => expect(wireguard.peers.get(two.key)?.endpoint).toBe(THERE))
  })

  test('are opened a few at a time, and two a second for each sender', async () => {
    const { engine: mesh, entry, clock } = await engine()
    const [two, three] = [await otherNode(2), await otherNode(3)]
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry, three.entry] })
    const flood = async (from: typeof two, count: number) => {
      const before = (await mesh.status()).ignoredSignals.unreadable ?? 0
      for (let i = 0; i < count; i++) await mesh.onSignal(from.entry.id, 'rubbish')
      return ((await mesh.status()).ignoredSignals.unreadable ?? 0) - before
    }
    expect(await flood(two, 1_000)).toBe(16)
    expect((await mesh.status()).ignoredSignals.tooMany).toBe(984)
    expect(await flood(three, 5)).toBe(5)
    clock.advance(2_000)
    expect(await flood(two, 1_000)).toBe(4)
    clock.advance(3_600_000)
    expect(await flood(two, 1_000)).toBe(16)
    await mesh.onSignal(three.entry.id, await three.signal(entry, {}))
    expect(await flood(three, 1)).toBe(1)
  })

  test('of a time still to come are ignored, so that those of the true time are not late', async () => {
    const { engine: mesh, entry, wireguard, clock, settled } = await engine()
    const two = await otherNode(2)
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    await mesh.onSignal(two.entry.id, await two.signal(entry, { at: clock.now() + 601_000 }))
    expect((await mesh.status()).ignoredSignals).toEqual({ early: 1 })
    await mesh.onSignal(two.entry.id, await two.signal(entry, { at: clock.now() + 599_000 }))
    await settled(() => expect(wireguard.peers.get(two.key)?.endpoint).toBe(THERE))
  })

  test('that say nothing new change neither interface nor cache', async () => {
    const { engine: mesh, entry, wireguard, clock, saved, settled } = await engine()
    const two = await otherNode(2)
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    await mesh.onSignal(two.entry.id, await two.signal(entry, { at: 1_000 }))
    await settled(() => expect(wireguard.peers.get(two.key)?.endpoint).toBe(THERE))
    const { reads: before } = wireguard
    clock.advance(1_000)
    await settled(() => expect(saved.cache).toContain(THERE))
    const { cache } = saved
    // The look that the time has brought.
    await settled(() => expect(wireguard.reads).toBeGreaterThan(before))
    const { reads } = wireguard
    await mesh.onSignal(two.entry.id, await two.signal(entry, { at: 2_000 }))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(wireguard.reads).toBe(reads)
    clock.advance(2_000)
    expect(saved.cache).toBe(cache)
    // It is remembered all the same.
    await mesh.onSignal(two.entry.id, await two.signal(entry, { at: 1_500 }))
    expect((await mesh.status()).ignoredSignals).toEqual({ old: 1 })
  })

  test('go to everybody on connecting, a frame’s worth at a time, and ask for an answer', async () => {
    const { engine: mesh, entry, batches, settled } = await engine()
    const others = await Promise.all(Array.from({ length: 100 }, (_, n) => otherNode(n + 2)))
    mesh.applyChanges({ epoch: 'e', to: 1, put: others.map((other) => other.entry) })
    expect(batches).toEqual([])
    mesh.onConnected(SETTINGS)
    await settled(() => expect(batches.flat()).toHaveLength(100))
    expect(batches.every((batch) => batch.length <= MAX_SIGNALS_PER_FRAME)).toBe(true)
    for (const { to, sealed } of batches.flat()) {
      const other = others.find((candidate) => candidate.entry.id === to)
      expect(await other?.open(sealed, entry)).toMatchObject({ endpoints: [HERE], reply: true })
    }
  })

  test('are answered once, without asking back, and go to a peer that is new in the map', async () => {
    const { engine: mesh, entry, batches, settled } = await engine()
    const [two, three] = [await otherNode(2), await otherNode(3)]
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    mesh.onConnected(SETTINGS)
    await settled(() => expect(batches).toHaveLength(1))
    await mesh.onSignal(two.entry.id, await two.signal(entry, { reply: true }))
    await settled(() => expect(batches).toHaveLength(2))
    const [first, second] = [batches[0]?.[0]?.sealed ?? '', batches[1]?.[0]?.sealed ?? '']
    const [asked, answered] = [await two.open(first, entry), await two.open(second, entry)]
    expect(answered).toMatchObject({ reply: false })
    expect(answered.at).toBeGreaterThan(asked.at)

    mesh.applyChanges({ epoch: 'e', from: 1, to: 2, put: [three.entry] })
    await settled(() => expect(batches).toHaveLength(3))
    expect(batches[2]?.map(({ to }) => to)).toEqual([three.entry.id])
    mesh.applyChanges({ epoch: 'e', to: 3, put: [two.entry, three.entry] })
    mesh.onDisconnected()
    await mesh.onSignal(two.entry.id, await two.signal(entry, { reply: true, at: 9_000 }))
    expect(batches).toHaveLength(3)
  })

  test('reach the others also when one peer has a key to which nothing can be sealed', async () => {
    const { engine: mesh, batches, settled } = await engine()
    const [two, three] = [await otherNode(2), await otherNode(3)]
    const broken = { ...two.entry, seal: SealingKey.parse('A'.repeat(43)) }
    mesh.applyChanges({ epoch: 'e', to: 1, put: [broken, three.entry] })
    mesh.onConnected(SETTINGS)
    await settled(() => expect(batches.flat().map(({ to }) => to)).toEqual([three.entry.id]))
  })

  test('go out anew when this machine is somewhere else', async () => {
    const { engine: mesh, entry, wireguard, clock, batches, settled } = await engine()
    const two = await otherNode(2)
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    mesh.onConnected(SETTINGS)
    await settled(() => expect(batches).toHaveLength(1))
    wireguard.addresses = [{ ifname: 'eth0', addr_info: [{ local: '198.18.0.9', prefixlen: 24 }] }]
    clock.advance(10_000)
    await settled(() => expect(batches).toHaveLength(2))
    expect(await two.open(batches[1]?.[0]?.sealed ?? '', entry)).toMatchObject({
      endpoints: ['198.18.0.9:51820'],
    })
    // Its own interface, and containers that come and go, are no other place.
    const { reads } = wireguard
    for (const ifname of ['claw0', 'docker0', 'veth7'])
      wireguard.addresses.push({ ifname, addr_info: [{ local: '172.17.0.1', prefixlen: 16 }] })
    clock.advance(10_000)
    await settled(() => expect(wireguard.reads).toBeGreaterThan(reads))
    expect(batches).toHaveLength(2)
  })
})

describe('the cache', () => {
  test('brings peers and their endpoints back without the gateway, and keeps late signals out', async () => {
    const first = await engine()
    const two = await otherNode(2)
    first.engine.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    await first.engine.onSignal(two.entry.id, await two.signal(first.entry, { at: 5_000 }))
    first.clock.advance(1_000)
    expect(first.saved.cache).toBeDefined()

    const again = await engine({ cache: first.saved.cache ?? '' })
    expect(again.engine.position).toEqual({ epoch: 'e', seq: 1 })
    expect(again.wireguard.peers.get(two.key)).toMatchObject({ endpoint: THERE, keepalive: '25' })
    await again.engine.onSignal(two.entry.id, await two.signal(again.entry, { at: 4_000 }))
    expect((await again.engine.status()).ignoredSignals.old).toBe(1)
  })

  test('that cannot be read is as good as none', async () => {
    const { engine: mesh, warnings } = await engine({ cache: '{"version":9' })
    expect(mesh.position).toBeUndefined()
    expect(warnings).toHaveLength(1)
  })

  test('is written once for many changes, and at the end', async () => {
    const { engine: mesh, saved, clock } = await engine()
    const two = await otherNode(2)
    mesh.applyChanges({ epoch: 'e', to: 1, put: [two.entry] })
    expect(saved.cache).toBeUndefined()
    await mesh.stop({ keepInterface: true })
    expect(saved.cache).toContain(two.entry.id)
    expect(clock.pending).toBe(0)
  })
})
