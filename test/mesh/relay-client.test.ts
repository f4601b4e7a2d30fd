/** The agent's relay client without sockets: grants, ports, rules and the way out, on a clock in the test's hands. */
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import type { Log } from '../../agent/log.ts'
import { GrantKeeper } from '../../agent/mesh/relay/grant-keeper.ts'
import { PEER_PORTS, renderRules } from '../../agent/mesh/relay/loopback-rules.ts'
import { Outgoing } from '../../agent/mesh/relay/outgoing.ts'
import { PeerPorts } from '../../agent/mesh/relay/peer-ports.ts'
import { UserError } from '../../host/user-error.ts'
import { toBase32 } from '../../protocol/base32.ts'
import { Endpoint, NodeId } from '../../protocol/ids.ts'
import { RELAY_BATCH_BYTES, RELAY_GRANT_MS } from '../../protocol/limits.ts'
import { decodePackets } from '../../protocol/relay.ts'
import { ManualClock } from '../support/manual-clock.ts'

const log: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => NodeId.parse(toBase32(bytes)))
const node = (number: number): NodeId => NodeId.parse(toBase32(new Uint8Array(16).fill(number)))
const [a, b, c] = [node(1), node(2), node(3)]

describe('a grant', () => {
  function keeper(answer: (peers: readonly NodeId[]) => readonly NodeId[] | Error) {
    const clock = new ManualClock()
    const asked: NodeId[][] = []
    const onGrant = vi.fn()
    const grants = new GrantKeeper({
      clock,
      now: () => clock.now(),
      log,
      request: async (peers) => {
        asked.push([...peers])
        const granted = answer(peers)
        if (granted instanceof Error) throw granted
        return { grant: `grant-${asked.length}`, peers: [...granted], until: clock.now() + RELAY_GRANT_MS }
      },
      onGrant,
    })
    const pass = async (ms: number, times = 1) => {
      for (let i = 0; i < times; i++) {
        clock.advance(ms)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    return { grants, asked, onGrant, pass }
  }

  test('is asked for once for peers that are wanted together, and again for one that it does not name', async () => {
    const { grants, asked, onGrant, pass } = keeper((peers) => peers)
    grants.want(new Set([a]))
    grants.want(new Set([a, b]))
    await pass(1_000)
    expect(asked).toEqual([[a, b]])
    expect([grants.text, grants.covers(a), grants.covers(c)]).toEqual(['grant-1', true, false])
    grants.want(new Set([a, b, c]))
    await pass(1_000)
    expect(asked).toHaveLength(2)
    expect(grants.covers(c)).toBe(true)
    expect(onGrant).toHaveBeenCalledTimes(2)
  })

  test('is renewed long before it ends, and not while nobody is wanted', async () => {
    const { grants, asked, pass } = keeper((peers) => peers)
    grants.want(new Set([a]))
    await pass(1_000)
    await pass(10_000, RELAY_GRANT_MS / 10_000)
    expect(asked.length).toBeGreaterThanOrEqual(2)
    expect(asked.length).toBeLessThanOrEqual(4)
    expect(grants.text).toBeDefined()
    grants.want(new Set())
    const before = asked.length
    await pass(10_000, 200)
    expect(asked).toHaveLength(before)
    expect([grants.text, grants.covers(a)]).toEqual([undefined, false])
  })

  test('that is not given is asked for again, but never in a hot loop', async () => {
    const refused = new UserError({ code: 'E_RELAY_PEER', message: 'no' })
    for (const failure of [refused, new Error('the gateway is away')]) {
      const { grants, asked, pass } = keeper(() => failure)
      grants.want(new Set([a]))
      await pass(100, 6_000)
      expect(asked.length).toBeGreaterThan(5)
      expect(asked.length).toBeLessThan(60)
    }
  })

  test('that the relay does not take is replaced', async () => {
    const { grants, pass } = keeper((peers) => peers)
    grants.want(new Set([a]))
    await pass(1_000)
    grants.refused()
    expect(grants.text).toBeUndefined()
    await pass(1_000)
    expect(grants.text).toBe('grant-2')
  })
})

describe('loopback ports', () => {
  test('are each one peer’s, within their range, and the same again after a restart', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(id, { maxLength: 200 }),
        fc.integer({ min: PEER_PORTS.first, max: PEER_PORTS.last }),
        (peers, taken) => {
          const ports = new PeerPorts(new Set([taken]))
          const given = peers.map((peer) => ports.take(peer))
          expect(new Set(given).size).toBe(peers.length)
          expect(given).not.toContain(taken)
          for (const [at, port] of given.entries()) {
            expect(port).toBeGreaterThanOrEqual(PEER_PORTS.first)
            expect(port).toBeLessThanOrEqual(PEER_PORTS.last)
            expect(ports.peerAt(port)).toBe(peers[at])
          }
          const again = new PeerPorts(new Set([taken]))
          expect(peers.map((peer) => again.take(peer))).toEqual(given)
        },
      ),
    )
  })

  test('go to the next where two peers would have the same', () => {
    const ports = new PeerPorts(new Set())
    const twin = NodeId.parse(toBase32(new Uint8Array(16).fill(1).fill(9, 0, 4)))
    const first = ports.take(a)
    expect(ports.take(twin)).toBe(first + 1)
    ports.release(a)
    expect(ports.of(a)).toBeUndefined()
    expect(ports.peerAt(ports.take(twin))).toBe(twin)
  })
})

test('the rules let nothing but WireGuard at the sockets, and a disguise comes before the common rule', () => {
  const rules = renderRules({
    table: 't',
    wireguardPort: 51_820,
    socket4: 7_000,
    socket6: 7_006,
    disguises: new Map([
      [20_001, { as: Endpoint.parse('203.0.113.9:4444'), local: '192.0.2.1' }],
      [20_002, { as: Endpoint.parse('[2001:db8::9]:5555'), local: '2001:db8::1' }],
    ]),
  })
  expect(rules).toBe(`add table inet t
delete table inet t
table inet t {
  chain output {
    type filter hook output priority raw; policy accept;
    ip daddr 127.0.0.1 udp dport 7000 drop
    ip6 daddr ::1 udp dport 7006 drop
    ip daddr 127.0.0.1 udp sport 51820 udp dport 20000-60000 notrack udp sport set udp dport udp dport set 7000 accept
    ip daddr 192.0.2.1 udp sport 7000 udp dport 20001 notrack ip saddr set 203.0.113.9 udp sport set 4444 udp dport set 51820 accept
    ip6 daddr 2001:db8::1 udp sport 7006 udp dport 20002 notrack ip6 saddr set 2001:db8::9 udp sport set 5555 udp dport set 51820 accept
    ip daddr 127.0.0.1 udp sport 7000 udp dport 20000-60000 notrack udp sport set udp dport udp dport set 51820 accept
  }
}
`)
})

describe('the way out', () => {
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

  test('gathers what comes in one turn, up to a batch', async () => {
    const sent: Uint8Array[] = []
    const outgoing = new Outgoing({ bufferedAmount: 0, send: (message) => sent.push(message) })
    for (let i = 0; i < 30; i++) outgoing.add(i, new Uint8Array(1_000))
    expect(sent).toHaveLength(1)
    await turn()
    expect(sent.map((message) => decodePackets(message)?.length)).toEqual([17, 13])
    expect(sent[0]?.length).toBeLessThan(RELAY_BATCH_BYTES + 1_004)
    await turn()
    expect(sent).toHaveLength(2)
  })

  test('drops what a slow connection does not take', async () => {
    const sink = { bufferedAmount: 0, send: vi.fn() }
    const outgoing = new Outgoing(sink)
    outgoing.add(0, new Uint8Array(10))
    sink.bufferedAmount = 300_000
    for (let i = 0; i < 5; i++) outgoing.add(0, new Uint8Array(10))
    await turn()
    expect(outgoing.dropped).toBe(5)
    expect(sink.send).toHaveBeenCalledTimes(1)
    outgoing.stop()
  })
})
