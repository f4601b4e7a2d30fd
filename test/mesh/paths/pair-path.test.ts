/** What WireGuard is told of one peer, and when, with a relay and without. */
import { describe, expect, test } from 'vitest'
import { PairPath } from '../../../agent/mesh/paths/pair-path.ts'
import type { ActualPeer } from '../../../agent/mesh/reconcile.ts'
import type { RelayPaths } from '../../../agent/mesh/relay-paths.ts'
import type { EndpointsSignal } from '../../../crypto/signal.ts'
import { Endpoint, Ipv4, NodeName, SealingKey, WireGuardKey } from '../../../protocol/ids.ts'
import type { MeshPeer } from '../../../protocol/mesh.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { nodeId } from '../mesh-node.ts'

const DIRECT = Endpoint.parse('203.0.113.9:51820')
const ELSEWHERE = Endpoint.parse('203.0.113.10:4000')
const RELAY = Endpoint.parse('127.0.0.1:20001')
const peer: MeshPeer = {
  id: nodeId(5),
  name: NodeName.parse('peer'),
  wg: WireGuardKey.parse('A'.repeat(43)),
  seal: SealingKey.parse('A'.repeat(43)),
  ip4: Ipv4.parse('10.100.0.5'),
}

class FakeRelay implements RelayPaths {
  relayed: Endpoint | undefined = RELAY
  readonly calls: (Endpoint | undefined)[] = []
  endpoint = () => this.relayed
  disguise = (_: unknown, as: Endpoint | undefined) => {
    this.calls.push(as)
    return Promise.resolve()
  }
  onChange = () => {}
}

/** The pair and WireGuard as it would be. */
function start(options: { self?: number; canProbe?: boolean; relay?: Endpoint | undefined } = {}) {
  const clock = new ManualClock()
  const relay = new FakeRelay()
  relay.relayed = 'relay' in options ? options.relay : RELAY
  const device = { endpoint: undefined as string | undefined, keepalive: 0, handshake: 0, rx: 0, tx: 0 }
  const log: string[] = []
  const pair = new PairPath(peer, {
    self: nodeId(options.self ?? 1),
    clock,
    relay,
    canProbe: () => options.canProbe ?? true,
    usable: (endpoints) => endpoints.map((endpoint) => ({ endpoint, nearness: 'far' as const })),
    apply: () => void log.push('apply'),
    poke: () => void log.push('poke'),
    warn: (problem) => void log.push(problem),
  })
  const actual = (): ActualPeer => ({
    publicKey: peer.wg,
    allowedIps: [],
    endpoint: device.endpoint,
    keepalive: device.keepalive,
    lastHandshake: device.handshake,
    rxBytes: device.rx,
    txBytes: device.tx,
  })
  return {
    clock,
    relay,
    device,
    log,
    pair,
    hear: (change: Partial<EndpointsSignal> = {}) =>
      pair.hear({
        kind: 'endpoints',
        endpoints: [DIRECT],
        mapped: [],
        nat: 'easy',
        probes: true,
        reply: false,
        at: 1,
        ...change,
      }),
    /** The interface is brought up to date. @returns where it sends to now. */
    apply: () => {
      const { endpoint, keepalive } = pair.plan(actual())
      if (endpoint !== undefined) {
        device.endpoint = endpoint
        pair.applied(endpoint)
      }
      device.keepalive = keepalive
      return device.endpoint
    },
    /** A handshake just now. */
    shake: () => {
      device.handshake = Math.floor(clock.now() / 1000)
    },
    /** Time passes, with an answer to each ping to these endpoints. */
    run: async (ms: number, ...answering: Endpoint[]) => {
      for (const end = clock.elapsed() + ms; clock.elapsed() < end; clock.advance(50)) {
        pair.path.takeRetry(clock.elapsed())
        const pinged = pair.advance(clock.elapsed())
        for (const to of pinged) if (answering.includes(to)) pair.path.heardPong(to, 10, clock.elapsed())
        pair.advance(clock.elapsed())
        await Promise.resolve()
        await Promise.resolve()
      }
    },
  }
}

describe('with a relay', () => {
  test('a peer is reached through it from the first packet, before anything is known of where it is', () => {
    const { apply, device } = start()
    expect(apply()).toBe(RELAY)
    expect(device.keepalive).toBe(25)
  })

  test('packets of the relay are disguised before WireGuard is told of the direct path, and for ten seconds', async () => {
    const { apply, relay, log, hear, run, shake } = start()
    apply()
    shake()
    hear()
    let inForce: (() => void) | undefined
    relay.disguise = (_, as) => {
      relay.calls.push(as)
      return new Promise((resolve) => {
        inForce = resolve
      })
    }
    await run(100, DIRECT)
    expect(relay.calls).toEqual([DIRECT])
    expect(apply()).toBe(RELAY)
    inForce?.()
    await run(50, DIRECT)
    expect(log).toContain('apply')
    expect(apply()).toBe(DIRECT)
    expect(log).toContain('poke')
    await run(9_000, DIRECT)
    expect(relay.calls).toEqual([DIRECT])
    await run(2_000, DIRECT)
    expect(relay.calls).toEqual([DIRECT, undefined])
  })

  test('it is used again when the direct path dies, and left again when that is back', async () => {
    const { apply, relay, hear, run, shake } = start()
    apply()
    shake()
    hear()
    await run(11_000, DIRECT)
    expect(apply()).toBe(DIRECT)
    await run(10_000)
    expect(apply()).toBe(RELAY)
    shake()
    await run(20_000, DIRECT)
    expect(apply()).toBe(DIRECT)
    expect(relay.calls).toEqual([DIRECT, undefined, DIRECT, undefined])
  })

  test('a relay that goes away while it is in use is not held to', () => {
    const { apply, relay, pair } = start()
    apply()
    relay.relayed = undefined
    expect(pair.plan(undefined).endpoint).toBeUndefined()
  })

  test('the direct path is left alone when the peer goes on sending through the relay', async () => {
    const { apply, device, hear, run, shake, pair } = start()
    apply()
    shake()
    hear()
    await run(12_000, DIRECT)
    expect(apply()).toBe(DIRECT)
    device.endpoint = RELAY
    expect(apply()).toBe(RELAY)
    await run(9_000, DIRECT)
    expect(apply()).toBe(RELAY)
    expect(pair.path.used).toBeUndefined()
    shake()
    await run(6_000, DIRECT)
    expect(apply()).toBe(DIRECT)
    // The second time it waits twice as long.
    await run(12_000, DIRECT)
    device.endpoint = RELAY
    apply()
    await run(19_000, DIRECT)
    expect(apply()).toBe(RELAY)
  })

  test('a direct path on which WireGuard hears nothing, whatever the probes say, is left', async () => {
    const { apply, device, hear, run, shake } = start()
    apply()
    shake()
    hear()
    device.rx = 10_000
    await run(1_000, DIRECT)
    expect(apply()).toBe(DIRECT)
    for (let i = 0; i < 8; i++) {
      device.tx += 1_000
      await run(2_000, DIRECT)
      apply()
    }
    expect(apply()).toBe(RELAY)
  })

  test('and one on which there is no handshake', async () => {
    const { apply, hear, run } = start()
    apply()
    hear()
    await run(1_000, DIRECT)
    expect(apply()).toBe(DIRECT)
    await run(13_000, DIRECT)
    expect(apply()).toBe(RELAY)
  })
})

describe('without a relay', () => {
  test('WireGuard is told of nothing before a probe is answered', async () => {
    const { apply, device, hear, run } = start({ relay: undefined })
    hear()
    await run(20_000)
    expect(apply()).toBeUndefined()
    expect(device.keepalive).toBe(0)
  })

  test('the node with the smaller id begins the handshake, the other half a second later', async () => {
    for (const [self, keepalive] of [
      [1, 25],
      [9, 0],
    ] as const) {
      const { apply, device, hear, run } = start({ self, relay: undefined })
      hear()
      await run(100, DIRECT)
      expect(apply()).toBe(DIRECT)
      expect(device.keepalive).toBe(keepalive)
      await run(500, DIRECT)
      apply()
      expect(device.keepalive).toBe(25)
    }
  })

  test('an endpoint that WireGuard has found by itself is respected, and kept when its agent is silent', async () => {
    const { apply, device, hear, run, shake } = start({ relay: undefined })
    hear()
    await run(100, DIRECT)
    apply()
    shake()
    device.endpoint = ELSEWHERE
    expect(apply()).toBe(ELSEWHERE)
    await run(500, ELSEWHERE)
    expect(apply()).toBe(ELSEWHERE)
    for (let i = 0; i < 20; i++) {
      device.rx += 100
      shake()
      apply()
      await run(1_000)
    }
    expect(apply()).toBe(ELSEWHERE)
  })

  test('a peer known from the cache alone is called by WireGuard when probes have had their moment', async () => {
    const { apply, pair, run, log } = start({ relay: undefined })
    pair.restore({ endpoints: [DIRECT], at: 1, worked: ELSEWHERE })
    pair.relocate({ reset: true })
    await run(900)
    expect(apply()).toBeUndefined()
    await run(200)
    expect(apply()).toBe(ELSEWHERE)
    expect(log).toEqual([])
  })

  test('a change of this machine’s network has the endpoint set again and the peer poked', async () => {
    const { apply, hear, run, shake, pair, log } = start({ relay: undefined })
    hear()
    await run(100, DIRECT)
    apply()
    shake()
    apply()
    log.length = 0
    pair.relocate({ reset: true })
    const plan = pair.plan({
      publicKey: peer.wg,
      allowedIps: [],
      endpoint: DIRECT,
      keepalive: 25,
      lastHandshake: Math.floor(Date.now() / 1000),
      rxBytes: 0,
      txBytes: 0,
    })
    expect(plan).toEqual({ endpoint: DIRECT, reset: true, keepalive: 25 })
    pair.applied(DIRECT)
    expect(log).toEqual(['poke'])
  })
})

describe('where probes are not to be had', () => {
  test('here, WireGuard tries the candidates, then the relay', async () => {
    const { apply, clock, hear } = start({ canProbe: false })
    hear({ endpoints: [DIRECT, ELSEWHERE] })
    expect(apply()).toBe(DIRECT)
    clock.advance(6_000)
    expect(apply()).toBe(ELSEWHERE)
    clock.advance(6_000)
    expect(apply()).toBe(RELAY)
  })

  test('there, the same after a moment', async () => {
    const { apply, hear, run } = start({ relay: undefined })
    hear({ probes: false })
    expect(apply()).toBeUndefined()
    await run(1_100)
    expect(apply()).toBe(DIRECT)
  })
})
