import { describe, expect, test } from 'vitest'
import { createLog } from '../../agent/log.ts'
import { MeshRuntime } from '../../agent/mesh-runtime.ts'
import type { OutgoingSignal } from '../../agent/session/signal-outbox.ts'
import type { NodeFrame } from '../../protocol/frames.ts'
import { NodeId } from '../../protocol/ids.ts'
import type { MeshChanges } from '../../protocol/mesh.ts'
import { ManualClock } from '../support/manual-clock.ts'

const peer = NodeId.parse('c'.repeat(26))
const position = { epoch: 'e', seq: 4 }

/** An engine that answers as it is told. */
class FakeEngine {
  readonly position = position
  readonly reachability = { peers: 1, reachable: 1 }
  readonly calls: unknown[] = []
  answer: 'applied' | 'duplicate' | 'gap' = 'applied'
  emit: (signals: OutgoingSignal[]) => void = () => {}
  async start() {
    return 'created' as const
  }
  applyChanges(changes: MeshChanges) {
    this.calls.push(changes)
    return this.answer
  }
  async onSignal(from: NodeId, sealed: string) {
    this.calls.push({ from, sealed })
  }
  onConnected() {
    this.calls.push('connected')
  }
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
      ignoredSignals: { unknownSender: 0, unreadable: 0, old: 0 },
      lastError: undefined,
    }
  }
}

function start() {
  const clock = new ManualClock()
  const engine = new FakeEngine()
  const sent: NodeFrame[] = []
  const runtime = new MeshRuntime({
    clock,
    log: createLog({ level: 'debug', write: () => {}, now: () => 0 }),
    createEngine: (emit) => {
      engine.emit = emit
      return engine
    },
  })
  const send = (frame: NodeFrame) => sent.push(frame) > 0
  return { clock, engine, runtime, sent, send }
}

describe('mesh runtime', () => {
  test('hands on what the gateway pushes, without the envelope', () => {
    const { engine, runtime, send } = start()
    runtime.connected(send)
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
    runtime.connected(send)
    const gap = () => {
      engine.answer = 'gap'
      runtime.receive({ type: 'mesh', epoch: 'e', from: 9, to: 10 })
    }
    gap()
    gap()
    expect(sent).toEqual([{ type: 'mesh_resync', at: position }])
    engine.answer = 'applied'
    runtime.receive({ type: 'mesh', epoch: 'e', to: 10 })
    gap()
    expect(sent).toHaveLength(2)
    runtime.connected(send)
    gap()
    expect(sent).toHaveLength(3)
  })

  test('signals go out in frames while there is a session, and are dropped without one', () => {
    const { clock, engine, runtime, sent, send } = start()
    engine.emit([{ to: peer, sealed: 'lost' }])
    runtime.connected(send)
    engine.emit([{ to: peer, sealed: 'AAAA' }])
    runtime.disconnected()
    engine.emit([{ to: peer, sealed: 'lost' }])
    clock.advance(60_000)
    expect(sent).toEqual([{ type: 'signal', signals: [{ to: peer, sealed: 'AAAA' }] }])
  })

  test('a stop takes the interface away', async () => {
    const { engine, runtime } = start()
    await runtime.stop()
    expect(engine.calls).toEqual(['disconnected', { keepInterface: false }])
  })
})
