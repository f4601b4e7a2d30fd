/** The relay without its sockets: who may, what is bounded, and what a node that misbehaves can do. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toBase32 } from '../../protocol/base32.ts'
import { NodeId } from '../../protocol/ids.ts'
import {
  MAX_RELAY_SOCKETS,
  RELAY_BURST_MS,
  RELAY_MARK_BYTES,
  RELAY_QUEUE_BYTES,
  RELAY_STALL_MS,
  RELAY_WINDOW_BYTES,
} from '../../protocol/limits.ts'
import { decodePackets, encodePackets, type RelayReply, type RelayRequest } from '../../protocol/relay.ts'
import { err, ok } from '../../protocol/result.ts'
import { RelayCore, type RelaySocket } from '../../relay/core.ts'
import type { Allowance, MemberState } from '../../relay/member.ts'

const node = (number: number): NodeId =>
  NodeId.parse(toBase32(Uint8Array.from({ length: 16 }, (_, i) => (i < 14 ? 7 : number >> (8 * (i - 14))))))
const FAST = { bytes: 1e9, packets: 1e9 }
const NOW = 1_800_000_000_000

class End implements RelaySocket {
  readonly node: NodeId
  readonly said: RelayReply[] = []
  readonly got: { readonly index: number; readonly bytes: Uint8Array }[] = []
  readonly marks: string[] = []
  messages = 0
  closed: { readonly code: number; readonly reason: string } | undefined
  kept: MemberState | undefined

  constructor(number: number) {
    this.node = node(number)
  }

  send(message: string | Uint8Array): void {
    if (typeof message === 'string') {
      if (message === 'pong') return
      const reply = JSON.parse(message) as RelayReply
      if (reply.type === 'mark') this.marks.push(reply.mark)
      else this.said.push(reply)
      return
    }
    this.messages++
    this.got.push(...(decodePackets(message) ?? []))
  }

  close(code: number, reason: string): void {
    this.closed = { code, reason }
  }

  keep(state: MemberState): void {
    this.kept = structuredClone(state)
  }

  indexOf(peer: End): number {
    const opened = this.said.findLast((reply) => reply.type === 'opened' && reply.peer === peer.node)
    if (opened?.type !== 'opened') throw new Error('not opened')
    return opened.index
  }

  last(type: RelayReply['type']): RelayReply | undefined {
    return this.said.findLast((reply) => reply.type === type)
  }
}

function relay({ maxBuffered }: { maxBuffered?: number } = {}) {
  const clock = { now: NOW }
  let marks = 0
  const core = new RelayCore({
    now: () => clock.now,
    newMark: () => `mark-${++marks}`,
    verifyGrant: async (grant) => {
      const allowance = JSON.parse(grant) as Allowance | null
      return allowance === null ? err('E_RELAY_GRANT') : ok(allowance)
    },
    ...(maxBuffered !== undefined && { maxBuffered }),
  })
  const allow = (peers: readonly End[], change: Partial<Allowance> = {}): Allowance => ({
    peers: peers.map(({ node }) => node),
    rate: FAST,
    issuedAt: NOW,
    until: NOW + 600_000,
    ...change,
  })
  const ask = (end: End, request: RelayRequest) => core.receive(end, JSON.stringify(request))
  const open = (a: End, b: End) => {
    ask(a, { type: 'open', peer: b.node })
    ask(b, { type: 'open', peer: a.node })
  }
  const send = (from: End, index: number, ...sizes: number[]) =>
    core.receive(from, encodePackets(sizes.map((size) => ({ index, bytes: new Uint8Array(size).fill(1) }))))
  const readAll = (end: End) => {
    for (const mark of end.marks.splice(0)) ask(end, { type: 'mark', mark })
  }
  const pair = (change: Partial<Allowance> = {}) => {
    const [a, b] = [new End(1), new End(2)]
    core.join(a, a.node, allow([b], change))
    core.join(b, b.node, allow([a], change))
    open(a, b)
    return [a, b] as const
  }
  return { clock, core, allow, ask, open, send, readAll, pair }
}

const dropped = (core: RelayCore) => core.accounts.total.dropped

describe('a pair', () => {
  test('that both have opened exchanges packets, each under the index of the receiver’s socket', () => {
    const { core, send, allow, ask, open } = relay()
    const [a, b, c] = [new End(1), new End(2), new End(3)]
    core.join(a, a.node, allow([b, c]))
    core.join(b, b.node, allow([c, a]))
    core.join(c, c.node, allow([a, b]))
    open(b, c)
    open(a, b)
    expect(b.indexOf(a)).not.toBe(a.indexOf(b))
    send(a, a.indexOf(b), 100, 40)
    expect(b.got.map(({ index, bytes }) => [index, bytes.length])).toEqual([
      [b.indexOf(a), 100],
      [b.indexOf(a), 40],
    ])
    expect(b.messages).toBe(1)
    expect(c.got).toEqual([])
    expect(core.accounts.of(a.node)).toMatchObject({ packetsIn: 2, bytesIn: 148 })
    expect(core.accounts.of(b.node)).toMatchObject({ packetsOut: 2, bytesOut: 148 })
    ask(a, { type: 'open', peer: b.node })
    expect(a.said.filter(({ type }) => type === 'opened')).toHaveLength(2)
  })

  test('of which one has not opened waits, and that one is asked', () => {
    const { core, send, allow, ask } = relay()
    const [a, b] = [new End(1), new End(2)]
    core.join(a, a.node, allow([b]))
    core.join(b, b.node, allow([a]))
    ask(a, { type: 'open', peer: b.node })
    expect(a.said).toEqual([{ type: 'closed', peer: b.node, reason: 'absent' }])
    expect(b.said).toEqual([{ type: 'asked', peer: a.node }])
    send(a, 0, 10)
    expect(b.got).toEqual([])
    expect(dropped(core).absent).toBe(1)
  })

  test.each([
    ['its own grant does not name the peer', [], [1]],
    ['the peer’s grant does not name it', [2], []],
  ])('is refused where %s', (_, mine, theirs) => {
    const { core, allow, open, send } = relay()
    const [a, b] = [new End(1), new End(2)]
    core.join(a, a.node, allow(mine.length > 0 ? [b] : []))
    core.join(b, b.node, allow(theirs.length > 0 ? [a] : []))
    open(a, b)
    expect([...a.said, ...b.said].filter(({ type }) => type === 'opened')).toEqual([])
    for (let index = 0; index < 3; index++) {
      send(a, index, 10)
      send(b, index, 10)
    }
    expect([...a.got, ...b.got]).toEqual([])
  })

  test('ends when a new grant no longer names the peer, on both sides', async () => {
    const { core, ask, send, allow, pair } = relay()
    const [a, b] = pair()
    const index = a.indexOf(b)
    await ask(b, { type: 'grant', grant: JSON.stringify(allow([])) })
    expect(b.said.slice(-2)).toEqual([
      { type: 'closed', peer: a.node, reason: 'refused' },
      { type: 'granted', until: NOW + 600_000 },
    ])
    expect(a.last('closed')).toEqual({ type: 'closed', peer: b.node, reason: 'refused' })
    send(a, index, 10)
    expect(b.got).toEqual([])
    expect(dropped(core).absent).toBe(1)
  })

  test('ends with a grant: the sender’s closes its socket, the receiver’s lets nothing through', () => {
    const { clock, core, allow, open, send } = relay()
    const [a, b] = [new End(1), new End(2)]
    core.join(a, a.node, allow([b]))
    core.join(b, b.node, allow([a], { until: NOW + 1_000 }))
    open(a, b)
    clock.now += 1_000
    send(a, a.indexOf(b), 10)
    expect(dropped(core).refused).toBe(1)
    send(b, b.indexOf(a), 10)
    expect(b.closed).toEqual({ code: 4011, reason: 'E_RELAY_GRANT_EXPIRED' })
    expect([...a.got, ...b.got]).toEqual([])
  })

  test('goes on over a renewed grant', async () => {
    const { clock, ask, send, allow, pair } = relay()
    const [a, b] = pair()
    await ask(a, { type: 'grant', grant: JSON.stringify(allow([b], { until: NOW + 900_000 })) })
    await ask(b, { type: 'grant', grant: JSON.stringify(allow([a], { until: NOW + 900_000 })) })
    clock.now += 700_000
    send(a, a.indexOf(b), 10)
    expect(b.got).toHaveLength(1)
  })

  test('hears of an end that goes, and of one that comes back', () => {
    const { core, allow, ask, send, pair } = relay()
    const [a, b] = pair()
    core.leave(b)
    expect(a.last('closed')).toEqual({ type: 'closed', peer: b.node, reason: 'absent' })
    const again = new End(2)
    core.join(again, again.node, allow([a]))
    ask(again, { type: 'open', peer: a.node })
    send(a, a.indexOf(b), 10)
    expect(again.got).toHaveLength(1)
  })

  test('is cut at once when a node is removed', () => {
    const { core, send, allow, pair } = relay()
    const [a, b] = pair()
    core.cut(b.node, 'E_NODE_REMOVED')
    expect(b.closed).toEqual({ code: 4003, reason: 'E_NODE_REMOVED' })
    send(b, b.indexOf(a), 10)
    send(a, a.indexOf(b), 10)
    expect([...a.got, ...b.got]).toEqual([])
    expect(core.size).toBe(1)
    // Nor does it come back with a grant from before.
    expect(core.join(new End(2), b.node, allow([a]))).toEqual(err('E_RELAY_GRANT'))
    expect(core.join(new End(2), b.node, allow([a], { issuedAt: NOW + 1 })).ok).toBe(true)
  })
})

describe('a socket', () => {
  test('that is a node’s second takes the place of the first', () => {
    const { core, allow, pair, ask } = relay()
    const [a, b] = pair()
    const newer = new End(1)
    core.join(newer, newer.node, allow([b]))
    expect(a.closed).toEqual({ code: 4009, reason: 'E_SESSION_SUPERSEDED' })
    // The close event of the old one comes late, and must not take the new one with it.
    core.leave(a)
    ask(newer, { type: 'open', peer: b.node })
    expect(newer.indexOf(b)).toBe(0)
    expect(core.size).toBe(2)
  })

  test('beyond the bound is refused', () => {
    const { core, allow } = relay()
    for (let i = 0; i < MAX_RELAY_SOCKETS; i++) core.join(new End(i), node(i), allow([]))
    expect(core.join(new End(60_000), node(60_000), allow([]))).toEqual(err('E_RELAY_FULL'))
    expect(core.join(new End(1), node(1), allow([])).ok).toBe(true)
  })

  test('goes on from what was kept of it', () => {
    const first = relay()
    const [a, b] = first.pair()
    const second = relay()
    for (const end of [a, b]) if (end.kept) second.core.restore(end, end.kept)
    second.send(a, a.indexOf(b), 30)
    expect(b.got.map(({ index }) => index)).toEqual([b.indexOf(a)])
    second.ask(a, { type: 'mark', mark: 'from before' })
    expect(a.closed).toBeUndefined()
  })

  test('of which an index was let go gets it again only after all others', () => {
    const { core, allow, ask } = relay()
    const peers = Array.from({ length: 5 }, (_, i) => new End(10 + i))
    const a = new End(1)
    core.join(a, a.node, allow(peers))
    for (const peer of peers) core.join(peer, peer.node, allow([a]))
    const indexes: number[] = []
    const free = new Set<number>()
    // 66 000 opens, with as many closes: every index was given once before the first is given again.
    for (let round = 0; round < 66_000; round++) {
      const peer = peers[round % 4] as End
      if (round >= 4) {
        core.receive(a, JSON.stringify({ type: 'close', peer: peer.node }))
      }
      if (round % 100 === 0) {
        // The bound on control messages is another test's.
        const kept = a.kept as MemberState
        core.leave(a)
        core.restore(a, kept)
      }
      ask(a, { type: 'open', peer: peer.node })
      const opened = a.kept?.opened.find(([node]) => node === peer.node)?.[1] ?? -1
      if (indexes.length < 65_536) expect(free.has(opened)).toBe(false)
      free.add(opened)
      indexes.push(opened)
    }
    expect(new Set(indexes).size).toBe(65_536)
    expect(a.closed).toBeUndefined()
  }, 60_000)

  test('that breaks the rules is told so twice and closed the third time, whatever it sends', async () => {
    const junk = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.string({ maxLength: 200 }),
      fc.json({ maxDepth: 2 }),
      fc.constantFrom(
        '{"type":"open"}',
        '{"type":"open","peer":"x"}',
        '{"type":"grant","grant":"null"}',
        '{"type":"close","peer":7}',
        '{"type":"mark"}',
        'x'.repeat(20_000),
      ),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(junk, { minLength: 1, maxLength: 30 }), async (messages) => {
        const { core, allow } = relay()
        const [a, b] = [new End(1), new End(2)]
        core.join(a, a.node, allow([b]))
        core.join(b, b.node, allow([a]))
        for (const message of messages) await core.receive(a, message)
        const errors = a.said.filter(({ type }) => type === 'error').length
        expect(a.closed !== undefined).toBe(errors >= 3)
        expect(errors).toBeLessThanOrEqual(3)
        if (a.closed) expect(a.closed.code).toBe(4002)
        expect(b.closed).toBeUndefined()
        expect(core.size).toBe(a.closed ? 1 : 2)
      }),
    )
  })

  test('whose grant is refused keeps the one it has', async () => {
    const { ask, send, pair } = relay()
    const [a, b] = pair()
    await ask(a, { type: 'grant', grant: 'null' })
    expect(a.last('error')).toMatchObject({ code: 'E_RELAY_GRANT' })
    send(a, a.indexOf(b), 10)
    expect(b.got).toHaveLength(1)
  })

  test('that asks for too much too fast is closed', () => {
    const { core, ask, allow } = relay()
    const a = new End(1)
    core.join(a, a.node, allow([]))
    for (let i = 0; i < 700 && a.closed === undefined; i++) ask(a, { type: 'open', peer: node(9) })
    expect(a.closed).toEqual({ code: 4002, reason: 'E_FRAME_RATE' })
    expect(a.said.filter(({ type }) => type === 'closed')).toHaveLength(600)
  })
})

describe('what is on its way', () => {
  test('to a node that does not read is bounded, and the oldest is dropped', () => {
    const { core, send, pair, readAll } = relay()
    const [a, b] = pair()
    const index = a.indexOf(b)
    for (let i = 0; i < 2_000; i++) send(a, index, 996)
    const sent = b.got.length
    expect(sent * 1_000).toBeLessThanOrEqual(RELAY_WINDOW_BYTES)
    expect(sent * 1_000).toBeGreaterThan(RELAY_WINDOW_BYTES - 2_000)
    const waiting = Math.floor(RELAY_QUEUE_BYTES / 1_000)
    expect(dropped(core).queue).toBe(2_000 - sent - waiting)
    expect(core.buffered).toBeLessThanOrEqual(RELAY_WINDOW_BYTES + RELAY_QUEUE_BYTES)
    while (b.marks.length > 0) readAll(b)
    expect(b.got).toHaveLength(sent + waiting)
    core.tick()
    readAll(a)
    readAll(b)
    expect(core.tick()).toBe(false)
    expect(core.buffered).toBe(0)
  })

  test('is not freed by marks that were not received', () => {
    const { core, ask, send, pair } = relay()
    const [a, b] = pair()
    for (let i = 0; i < 1_000; i++) send(a, a.indexOf(b), 996)
    const before = core.buffered
    for (let i = 0; i < 100; i++) ask(b, { type: 'mark', mark: `guess-${i}` })
    expect(core.buffered).toBe(before)
  })

  test('does not keep a node for ever that has stopped reading', () => {
    const { clock, core, send, pair } = relay()
    const [a, b] = pair()
    for (let sent = 0; sent < RELAY_MARK_BYTES; sent += 1_000) send(a, a.indexOf(b), 996)
    clock.now += RELAY_STALL_MS
    expect(core.tick()).toBe(true)
    expect(b.closed).toBeUndefined()
    clock.now += 1
    core.tick()
    expect(b.closed).toEqual({ code: 4012, reason: 'E_LEASE_EXPIRED' })
    expect(a.last('closed')).toMatchObject({ reason: 'absent' })
  })

  test('of all nodes together is bounded', () => {
    const maxBuffered = 200_000
    const { core, allow, open, send } = relay({ maxBuffered })
    const a = new End(1)
    const peers = Array.from({ length: 10 }, (_, i) => new End(10 + i))
    core.join(a, a.node, allow(peers))
    for (const peer of peers) {
      core.join(peer, peer.node, allow([a]))
      open(a, peer)
    }
    for (let round = 0; round < 100; round++) for (const peer of peers) send(a, a.indexOf(peer), 996)
    // Only what the relay itself has to say comes on top.
    expect(core.buffered).toBeLessThanOrEqual(maxBuffered + 2_000)
    const { full, queue } = dropped(core)
    const arrived = peers.reduce((sum, { got }) => sum + got.length, 0)
    expect(full).toBeGreaterThan(0)
    expect(arrived + full + queue).toBeLessThanOrEqual(1_000)
  })

  test('is the sender’s rate and no more: bytes and packets', () => {
    for (const [rate, size, expected] of [
      [{ bytes: 100_000, packets: 1e9 }, 996, (100_000 * RELAY_BURST_MS) / 1000 / 1_000],
      [{ bytes: 1e9, packets: 400 }, 10, (400 * RELAY_BURST_MS) / 1000],
    ] as const) {
      const { clock, core, send, pair } = relay()
      const [a, b] = pair({ rate })
      for (let i = 0; i < 500; i++) send(a, a.indexOf(b), size)
      expect(b.got).toHaveLength(expected)
      expect(dropped(core).rate).toBe(500 - expected)
      clock.now += RELAY_BURST_MS
      for (let i = 0; i < 500; i++) send(a, a.indexOf(b), size)
      expect(b.got).toHaveLength(2 * expected)
    }
  })

  test('a flood to one peer costs another pair of it nothing', () => {
    const { core, allow, open, send, readAll } = relay()
    const [flooder, quiet, target] = [new End(1), new End(2), new End(3)]
    core.join(flooder, flooder.node, allow([target]))
    core.join(quiet, quiet.node, allow([target]))
    core.join(target, target.node, allow([flooder, quiet]))
    open(flooder, target)
    open(quiet, target)
    const fromQuiet = target.indexOf(quiet)
    // The target reads a twentieth of what it is sent; the quiet one sends one packet for each two hundred of the flood.
    for (let round = 0; round < 400; round++) {
      for (let i = 0; i < 20; i++) send(flooder, flooder.indexOf(target), ...Array<number>(10).fill(996))
      send(quiet, quiet.indexOf(target), 96)
      const mark = target.marks.shift()
      if (round % 5 === 0 && mark !== undefined) core.receive(target, JSON.stringify({ type: 'mark', mark }))
    }
    while (target.marks.length > 0) readAll(target)
    expect(core.accounts.of(quiet.node).dropped.queue).toBe(0)
    expect(core.accounts.of(flooder.node).dropped.queue).toBeGreaterThan(10_000)
    expect(target.got.filter(({ index }) => index === fromQuiet)).toHaveLength(400)
  })
})
