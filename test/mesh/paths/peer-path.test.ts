/** The search for a path, on a clock and a network of its own. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PeerPath } from '../../../agent/mesh/paths/peer-path.ts'
import { Endpoint } from '../../../protocol/ids.ts'

const LAN = Endpoint.parse('192.168.1.9:51820')
const FAR = Endpoint.parse('203.0.113.9:51820')
const OTHER = Endpoint.parse('203.0.113.10:51820')
const told = (endpoint: Endpoint) => ({
  endpoint,
  nearness: endpoint === LAN ? ('lan' as const) : ('far' as const),
})

interface Change {
  readonly at: number
  readonly used: Endpoint | undefined
}

/** A path on a network where each endpoint answers after so many ms, or not at all. */
class World {
  readonly path = new PeerPath()
  readonly rtts = new Map<Endpoint, number | (() => number)>()
  readonly pings: { readonly at: number; readonly to: Endpoint }[] = []
  readonly changes: Change[] = []
  retries: number[] = []
  hears = false
  now = 1_000
  #inFlight: { readonly at: number; readonly from: Endpoint; readonly rtt: number }[] = []

  constructor(...endpoints: Endpoint[]) {
    this.path.offer(endpoints.map(told), this.now)
  }

  run(ms: number): this {
    const end = this.now + ms
    for (let turns = 0; this.now < end; turns++) {
      // What is due now must be done now, or it would be asked for without end.
      expect(turns).toBeLessThan(ms + 10_000)
      if (this.path.takeRetry(this.now)) this.retries.push(this.now)
      this.#send(this.path.due(this.now))
      this.#decide()
      const next = Math.min(this.path.nextAt(this.now), ...this.#inFlight.map(({ at }) => at), end)
      expect(next).toBeGreaterThanOrEqual(this.now)
      this.now = Math.max(next, this.now + 1)
      this.#deliver()
    }
    return this
  }

  #send(endpoints: readonly Endpoint[]): void {
    for (const to of endpoints) {
      this.pings.push({ at: this.now, to })
      const answer = this.rtts.get(to)
      const rtt = typeof answer === 'function' ? answer() : answer
      if (rtt !== undefined) this.#inFlight.push({ at: this.now + rtt, from: to, rtt })
    }
  }

  #deliver(): void {
    const here = this.#inFlight.filter(({ at }) => at <= this.now)
    this.#inFlight = this.#inFlight.filter(({ at }) => at > this.now)
    for (const { from, rtt } of here) this.path.heardPong(from, rtt, this.now)
    if (here.length > 0) this.#decide()
  }

  #decide(): void {
    this.path.decide(this.now, () => this.hears)
    if (this.path.used !== this.changes.at(-1)?.used)
      this.changes.push({ at: this.now, used: this.path.used })
  }
}

describe('a search', () => {
  test('takes the first that answers, if nothing nearer may come', () => {
    const world = new World(FAR, OTHER)
    world.rtts.set(FAR, 80).set(OTHER, 20)
    world.run(500)
    expect(world.changes).toEqual([{ at: 1_020, used: OTHER }])
  })

  test('takes the near one, also where a far one answers first', () => {
    const world = new World(FAR, LAN)
    world.rtts.set(FAR, 5).set(LAN, 25)
    world.run(500)
    expect(world.changes.map(({ used }) => used)).toEqual([LAN])
  })

  test('does not wait for a near one that does not answer, and takes it when it does', () => {
    const world = new World(FAR, LAN)
    world.rtts.set(FAR, 5)
    world.run(300)
    expect(world.changes.at(-1)).toMatchObject({ used: FAR })
    expect(world.changes.at(-1)?.at).toBeLessThan(1_000 + 60)
    world.rtts.set(LAN, 1)
    world.run(300)
    expect(world.path.used).toBe(LAN)
  })

  test('that finds nothing is repeated ever more seldom, at a cost that does not count', () => {
    const world = new World(FAR, LAN, OTHER)
    world.run(60 * 60_000)
    const waits = world.retries.slice(1).map((at, i) => at - (world.retries[i] ?? 0))
    expect(waits[0]).toBeLessThan(20_000)
    expect(waits.at(-1)).toBeGreaterThan(290_000)
    expect(world.pings.length).toBeLessThan(1_200)
  })

  test('begins at once with new endpoints, and not with the same ones', () => {
    const world = new World(FAR)
    world.run(60_000)
    world.rtts.set(OTHER, 10)
    const { length } = world.pings
    expect(world.path.offer([told(FAR)], world.now)).toBe(false)
    world.run(1_000)
    expect(world.pings.length - length).toBeLessThan(3)
    expect(world.path.offer([told(FAR), told(OTHER)], world.now)).toBe(true)
    world.run(100)
    expect(world.path.used).toBe(OTHER)
  })

  test('costs a peer that names many endpoints no more than its share', () => {
    const many = Array.from({ length: 200 }, (_, n) => Endpoint.parse(`203.0.113.${n + 1}:9`))
    const world = new World()
    for (let second = 0; second < 30; second++) {
      world.path.offer(many.slice(second).map(told), world.now)
      world.path.begin(world.now)
      world.run(1_000)
    }
    expect(world.pings.length).toBeLessThanOrEqual(200 + 30 * 20)
  })
})

describe('a ping of the peer', () => {
  test('is answered by one of ours to where it came from, also where nobody has told of it', () => {
    const world = new World(FAR)
    world.run(20_000)
    world.rtts.set(OTHER, 30)
    world.path.heardPing(told(OTHER), world.now)
    world.run(100)
    expect(world.path.used).toBe(OTHER)
  })

  test('from elsewhere has the path in use asked, and left if it is silent', () => {
    const world = new World(FAR)
    world.rtts.set(FAR, 30)
    world.run(5_000)
    // The peer's NAT has given it another port.
    world.rtts.delete(FAR)
    world.rtts.set(OTHER, 30)
    const moved = world.now
    world.path.heardPing(told(OTHER), world.now)
    world.run(5_000)
    expect(world.path.used).toBe(OTHER)
    expect((world.changes.at(-1)?.at ?? 0) - moved).toBeLessThan(500)
  })

  test('from many places does not make it forget the path in use', () => {
    const world = new World(FAR)
    world.rtts.set(FAR, 30)
    world.run(1_000)
    for (let n = 1; n < 200; n++) world.path.heardPing(told(Endpoint.parse(`198.51.100.${n}:9`)), world.now)
    world.run(20_000)
    expect(world.path.used).toBe(FAR)
    expect(world.changes).toHaveLength(1)
  })
})

describe('the path in use', () => {
  test('that dies is left within ten seconds, for another that answers or for none', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 10_000 }),
        fc.integer({ min: 1, max: 300 }),
        fc.boolean(),
        (wait, rtt, other) => {
          const world = new World(FAR, OTHER)
          world.rtts.set(FAR, rtt)
          world.run(2_000 + wait)
          expect(world.path.used).toBe(FAR)
          world.rtts.delete(FAR)
          if (other) world.rtts.set(OTHER, rtt)
          const died = world.now
          world.run(9_500)
          expect(world.path.used).toBe(other ? OTHER : undefined)
          expect((world.changes.at(-1)?.at ?? 0) - died).toBeLessThan(9_500)
        },
      ),
    )
  })

  test('is kept while WireGuard hears the peer over it: only its agent is away', () => {
    const world = new World(FAR)
    world.rtts.set(FAR, 20)
    world.run(1_000)
    world.rtts.delete(FAR)
    world.hears = true
    world.run(60_000)
    expect(world.path.used).toBe(FAR)
    world.hears = false
    world.run(10_000)
    expect(world.path.used).toBeUndefined()
  })

  test('survives a ping or two that are lost', () => {
    const world = new World(FAR, OTHER)
    let n = 0
    world.rtts.set(FAR, () => (n++ % 3 === 0 ? 20 : 1e9)).set(OTHER, 25)
    world.run(5 * 60_000)
    expect(world.changes.length).toBeLessThanOrEqual(6)
  })

  test('does not change for little, nor often for much', () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.integer({ min: 5, max: 200 })), (jitter) => {
        const world = new World(FAR, OTHER)
        const next = () => Number(jitter.next().value)
        world.rtts.set(FAR, next).set(OTHER, next)
        for (let minute = 0; minute < 5; minute++) {
          // Whatever makes it look again.
          for (let times = 0; times < 12; times++) {
            world.path.begin(world.now)
            world.run(5_000)
          }
        }
        expect(world.changes.length).toBeLessThanOrEqual(1 + 5 * 4)
        expect(world.changes.every(({ used }) => used !== undefined)).toBe(true)
      }),
      { numRuns: 20 },
    )
  })

  test('is the one that WireGuard has moved to by itself, if it works', () => {
    const world = new World(FAR)
    world.rtts.set(FAR, 20).set(OTHER, 20)
    world.run(1_000)
    world.path.adopt(told(OTHER), world.now)
    world.run(60_000)
    expect(world.path.used).toBe(OTHER)
    const silent = new World(FAR)
    silent.rtts.set(FAR, 20)
    silent.run(1_000)
    silent.path.adopt(told(OTHER), silent.now)
    silent.run(5_000)
    expect(silent.path.used).toBe(FAR)
  })

  test('is left to WireGuard when the peer pulls it back again and again', () => {
    const world = new World(FAR, LAN)
    world.rtts.set(FAR, 20).set(LAN, 1)
    world.run(1_000)
    let changes = 0
    for (let second = 0; second < 59; second++) {
      if (world.path.used === LAN) changes++
      world.path.adopt(told(FAR), world.now)
      world.path.begin(world.now)
      world.run(1_000)
    }
    expect(changes).toBeGreaterThan(1)
    expect(changes).toBeLessThanOrEqual(4)
    expect(world.path.used).toBe(FAR)
  })

  test('is left alone for a time when WireGuard cannot use it', () => {
    const world = new World(FAR)
    world.rtts.set(FAR, 20)
    world.run(1_000)
    world.path.abandon(world.now, 10_000)
    world.run(9_900)
    expect(world.path.used).toBeUndefined()
    world.run(5_000)
    expect(world.path.used).toBe(FAR)
  })

  test('is asked anew at once after a change of the network, and costs little otherwise', () => {
    const world = new World(FAR)
    world.rtts.set(FAR, 20)
    world.run(60_000)
    expect(world.pings.length).toBeLessThan(25)
    world.path.reset(world.now)
    const { length } = world.pings
    world.run(20)
    expect(world.pings.length).toBe(length + 1)
  })
})
