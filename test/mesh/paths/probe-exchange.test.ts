/** Who gets an answer to a probe, and who does not. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Heard, ProbeExchange } from '../../../agent/mesh/paths/probe-exchange.ts'
import { ReplayGuard } from '../../../agent/mesh/paths/replay-guard.ts'
import { Endpoint } from '../../../protocol/ids.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { FLEET, newSeed, selfOf } from '../mesh-node.ts'

const at = (number: number) => Endpoint.parse(`203.0.113.${number}:51820`)

async function node(number: number, clock: ManualClock) {
  const { self, entry } = await selfOf(newSeed(number))
  const sent: { readonly packet: Uint8Array; readonly to: Endpoint }[] = []
  const exchange = new ProbeExchange({
    fleet: FLEET,
    self: self.id,
    sealingKey: self.sealing.privateKey,
    clock,
    send: (packet, to) => void sent.push({ packet, to }),
  })
  return { entry, exchange, sent, here: at(number) }
}
type Node = Awaited<ReturnType<typeof node>>

async function setUp(...numbers: number[]) {
  const clock = new ManualClock()
  const nodes = await Promise.all(numbers.map((number) => node(number, clock)))
  const entries = new Map(nodes.map(({ entry }) => [entry.id, entry]))
  for (const { exchange } of nodes) exchange.setPeers(entries)
  return { clock, nodes: nodes as [Node, Node, ...Node[]] }
}

/** What `to` hears of all that `from` has sent. */
async function deliver(from: Node, to: Node, as = from.here): Promise<(Heard | undefined)[]> {
  const heard: (Heard | undefined)[] = []
  for (const { packet } of from.sent.splice(0)) heard.push(await to.exchange.receive(packet, as))
  return heard
}

describe('probes', () => {
  test('go there and back, and say how long it took and where they were seen', async () => {
    const { clock, nodes } = await setUp(1, 2)
    const [a, b] = nodes
    await a.exchange.ping(b.entry.id, b.here)
    clock.advance(15)
    expect(await deliver(a, b, at(77))).toEqual([{ kind: 'ping', peer: a.entry.id, from: at(77) }])
    expect(b.sent.map(({ to }) => to)).toEqual([at(77)])
    clock.advance(10)
    expect(await deliver(b, a)).toEqual([
      { kind: 'pong', peer: b.entry.id, from: b.here, rtt: 25, observed: at(77) },
    ])
  })

  test('of a stranger, in another’s name or for another get no answer', async () => {
    const { clock, nodes } = await setUp(1, 2, 3)
    const [a, b, c] = nodes
    const stranger = await node(9, clock)
    stranger.exchange.setPeers(new Map([[b.entry.id, b.entry]]))
    await stranger.exchange.ping(b.entry.id, b.here)
    expect(await deliver(stranger, b)).toEqual([undefined])
    // Its own key, the name of a node that b knows.
    const impostor = { ...stranger, ...(await node(1, clock)) }
    impostor.exchange.setPeers(new Map([[b.entry.id, b.entry]]))
    await impostor.exchange.ping(b.entry.id, b.here)
    expect(await deliver(impostor, b)).toEqual([undefined])
    await a.exchange.ping(b.entry.id, b.here)
    expect(await deliver(a, c as Node)).toEqual([undefined])
    expect(await b.exchange.receive(new Uint8Array(200), a.here)).toBeUndefined()
    expect([...b.sent, ...(c as Node).sent]).toEqual([])
  })

  test('of a peer that is no longer in the map, or has another key there, get no answer', async () => {
    const { nodes } = await setUp(1, 2)
    const [a, b] = nodes
    await a.exchange.ping(b.entry.id, b.here)
    const [first] = a.sent
    b.exchange.setPeers(new Map([[a.entry.id, { ...a.entry, seal: b.entry.seal }]]))
    expect(await b.exchange.receive(first?.packet ?? new Uint8Array(), a.here)).toBeUndefined()
    b.exchange.setPeers(new Map())
    expect(await b.exchange.receive(first?.packet ?? new Uint8Array(), a.here)).toBeUndefined()
    expect(b.sent).toEqual([])
  })

  test('that are repeated get no second answer, wherever they come from', async () => {
    const { clock, nodes } = await setUp(1, 2)
    const [a, b] = nodes
    await a.exchange.ping(b.entry.id, b.here)
    const { packet } = a.sent[0] ?? { packet: new Uint8Array() }
    expect(await b.exchange.receive(packet, a.here)).toBeDefined()
    expect(await b.exchange.receive(packet, at(66))).toBeUndefined()
    clock.advance(3_600_000)
    expect(await b.exchange.receive(packet, at(66))).toBeUndefined()
    expect(b.sent).toHaveLength(1)
  })

  test('that come back to their sender say nothing to it', async () => {
    const { nodes } = await setUp(1, 2)
    const [a, b] = nodes
    await a.exchange.ping(b.entry.id, b.here)
    expect(await deliver(a, a, b.here)).toEqual([undefined])
    expect(a.sent).toEqual([])
  })

  test('count only from where they were sent to, once, and in time', async () => {
    const { clock, nodes } = await setUp(1, 2)
    const [a, b] = nodes
    const answers = async () => {
      await a.exchange.ping(b.entry.id, b.here)
      await deliver(a, b)
      return b.sent.splice(0)[0]?.packet ?? new Uint8Array()
    }
    const pong = await answers()
    expect(await a.exchange.receive(pong, at(99))).toBeUndefined()
    expect(await a.exchange.receive(pong, b.here)).toMatchObject({ kind: 'pong' })
    expect(await a.exchange.receive(pong, b.here)).toBeUndefined()
    const late = await answers()
    clock.advance(6_000)
    expect(await a.exchange.receive(late, b.here)).toBeUndefined()
  })

  test('of one peer are answered at a bounded rate, and others’ meanwhile', async () => {
    const { clock, nodes } = await setUp(1, 2, 3)
    const [a, b, c] = nodes as [Node, Node, Node]
    const flood = async (from: Node, count: number) => {
      for (let i = 0; i < count; i++) await from.exchange.ping(b.entry.id, b.here)
      return (await deliver(from, b)).filter((heard) => heard !== undefined).length
    }
    expect(await flood(a, 600)).toBe(300)
    expect(await flood(c, 10)).toBe(10)
    clock.advance(1_000)
    expect(await flood(a, 600)).toBe(60)
  })
})

describe('what has been heard', () => {
  test('is not heard again, however it is mixed, and what is new and in time is heard', () => {
    const pings = fc.array(fc.tuple(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 3_000 })), {
      maxLength: 2_000,
    })
    fc.assert(
      fc.property(pings, (sent) => {
        const guard = new ReplayGuard()
        const admitted = new Set<string>()
        const all = new Set<string>()
        for (const [number, sentAt] of sent) {
          const txid = `${number} ${sentAt}`
          const ok = guard.admit(txid, sentAt, 10_000)
          expect(ok && admitted.has(txid)).toBe(false)
          // All of it is within the window, and few enough to be remembered.
          if (all.size < 512) expect(ok).toBe(!all.has(txid))
          all.add(txid)
          if (ok) admitted.add(txid)
        }
      }),
    )
  })

  test('of long ago, or of a time to come, is refused', () => {
    const guard = new ReplayGuard()
    expect(guard.admit('a', 100_000, 100_000)).toBe(true)
    expect(guard.admit('b', 89_000, 100_000)).toBe(false)
    expect(guard.admit('c', 91_000, 100_000)).toBe(true)
    expect(guard.admit('d', 701_000, 100_000)).toBe(false)
  })
})
