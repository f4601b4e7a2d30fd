import { describe, expect, test, vi } from 'vitest'
import { createLog } from '../../agent/log.ts'
import type { MapAck } from '../../agent/mesh/map-acks.ts'
import { MeshRuntime } from '../../agent/mesh-runtime.ts'
import type { OutgoingSignal } from '../../agent/session/signal-outbox.ts'
import type { NodeFrame } from '../../protocol/frames.ts'
import { NodeId } from '../../protocol/ids.ts'
import type { MeshChanges } from '../../protocol/mesh.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { memoryLease } from '../support/map-lease.ts'

const peer = NodeId.parse('c'.repeat(26))
const SETTINGS = { stun: [], relays: [], leaseMs: 60_000 }
const position = { epoch: 'e', seq: 4 }

/** An engine that answers as it is told. */
class FakeEngine {
  /** How often `start` fails. */
  failures = 0
  readonly position = position
  readonly reachability = { peers: 1, reachable: 1, summary: { paths: {}, worst: [] } }
  readonly calls: unknown[] = []
  result: 'applied' | 'duplicate' | 'gap' = 'applied'
  emit: (signals: OutgoingSignal[]) => void = () => {}
  ack: (ack: MapAck) => void = () => {}
  answers: (string | Error | undefined)[] = []
  async start() {
    if (this.failures-- > 0) throw new Error('no interface')
    this.calls.push('started')
    return 'created' as const
  }
  applyChanges(changes: MeshChanges) {
    this.calls.push(changes)
    return this.result
  }
  approve(networks: readonly string[]) {
    this.calls.push({ approved: networks })
  }
  async onSignal(from: NodeId, sealed: string) {
    this.calls.push({ from, sealed })
  }
  async answer() {
    const answer = this.answers.shift()
    if (answer instanceof Error) throw answer
    return answer
  }
  onConnected() {
    this.calls.push('connected')
  }
  async handOver() {
    return 'done' as const
  }
  leaseChanged() {}
  onDisconnected() {
    this.calls.push('disconnected')
  }
  async stop({ keepInterface }: { keepInterface: boolean }) {
    this.calls.push({ keepInterface })
  }
  async status() {
    return {
      interface: 'claw0',
      backend: undefined,
      position,
      peers: [],
      names: undefined,
      routes: [],
      psk: 0,
      ignoredSignals: { unknownSender: 0, unreadable: 0, old: 0 },
      lastError: undefined,
    }
  }
}

function start() {
  const clock = new ManualClock()
  const engines: FakeEngine[] = [new FakeEngine(), new FakeEngine()]
  const [engine = new FakeEngine()] = engines
  let made = 0
  const sent: NodeFrame[] = []
  const runtime = new MeshRuntime({
    clock,
    log: createLog({ level: 'debug', write: () => {}, now: () => 0 }),
    lease: memoryLease(clock),
    createEngine: (emit, ack) => {
      const next = engines[made++] ?? new FakeEngine()
      Object.assign(next, { emit, ack })
      return next
    },
  })
  const send = (frame: NodeFrame) => sent.push(frame) > 0
  return { clock, engine, successor: engines[1], runtime, sent, send }
}

describe('mesh runtime', () => {
  test('hands on what the gateway pushes, without the envelope', () => {
    const { engine, runtime, send } = start()
    runtime.connected(send, SETTINGS)
    runtime.receive({ type: 'mesh', epoch: 'e', from: 3, to: 4, del: [peer] })
    runtime.receive({ type: 'signal', from: peer, sealed: 'AAAA' })
    expect(engine.calls).toEqual([
      'connected',
      { epoch: 'e', from: 3, to: 4, del: [peer] },
      { from: peer, sealed: 'AAAA' },
    ])
  })

  test('a gap asks once for a resync, and again only after a change fitted or a new session began', () => {
    const { engine, runtime, sent, send } = start()
    runtime.connected(send, SETTINGS)
    const gap = () => {
      engine.result = 'gap'
      runtime.receive({ type: 'mesh', epoch: 'e', from: 9, to: 10 })
    }
    gap()
    gap()
    expect(sent).toEqual([{ type: 'mesh_resync', at: position }])
    engine.result = 'applied'
    runtime.receive({ type: 'mesh', epoch: 'e', to: 10 })
    gap()
    expect(sent).toHaveLength(2)
    runtime.connected(send, SETTINGS)
    gap()
    expect(sent).toHaveLength(3)
  })

  test('signals go out in frames while there is a session, and are dropped without one', () => {
    const { clock, engine, runtime, sent, send } = start()
    engine.emit([{ to: peer, kind: 'endpoints', sealed: 'lost' }])
    runtime.connected(send, SETTINGS)
    engine.emit([{ to: peer, kind: 'endpoints', sealed: 'AAAA' }])
    runtime.disconnected()
    engine.emit([{ to: peer, kind: 'endpoints', sealed: 'lost' }])
    clock.advance(60_000)
    expect(sent).toEqual([{ type: 'signal', signals: [{ to: peer, sealed: 'AAAA' }] }])
  })

  test('a stop takes the interface away', async () => {
    const { engine, runtime } = start()
    await runtime.stop()
    expect(engine.calls).toEqual(['disconnected', { keepInterface: false }])
  })

  describe('in quarantine', () => {
    test('takes its interface away, and brings it back with the next session', async () => {
      const { engine, successor, runtime, sent, send } = start()
      runtime.connected(send, SETTINGS)
      runtime.hold()
      runtime.hold()
      expect(await runtime.status()).toBeUndefined()
      runtime.receive({ type: 'mesh', epoch: 'e', from: 3, to: 4, del: [peer] })
      runtime.connected(send, SETTINGS)
      await vi.waitFor(() => expect(successor?.calls).toEqual(['started', 'connected']))
      expect(engine.calls.filter((call) => JSON.stringify(call).includes('keepInterface'))).not.toEqual([])
      expect(engine.calls).not.toContainEqual(expect.objectContaining({ del: [peer] }))
      // What came meanwhile was not kept: it comes again.
      expect(sent).toEqual([{ type: 'mesh_resync', at: position }])
      expect(await runtime.status()).toMatchObject({ interface: 'claw0' })
      runtime.receive({ type: 'signal', from: peer, sealed: 'AAAA' })
      expect(successor?.calls).toContainEqual({ from: peer, sealed: 'AAAA' })
    })

    test('tries again while the interface cannot be brought back', async () => {
      const { clock, successor, runtime, send } = start()
      runtime.hold()
      if (successor !== undefined) successor.failures = 1
      const retry = clock.scheduled((ms) => ms === 10_000)
      runtime.connected(send, SETTINGS)
      const wait = await retry
      expect(await runtime.status()).toBeUndefined()
      clock.advance(wait)
      await vi.waitFor(async () => expect(await runtime.status()).toBeDefined())
      await runtime.stop()
      expect(clock.pending).toBe(0)
    })
  })
})
