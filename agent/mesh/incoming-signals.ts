/** What peers send by way of the gateway, handed to whoever it is for. */
import type { EndpointsSignal, Signal } from '../../crypto/signal.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Log } from '../log.ts'
import type { Announcer } from './announcer.ts'
import { HeardSignals } from './heard-signals.ts'
import type { HeldMap } from './held-map.ts'
import type { KeySignals } from './key-signals.ts'
import type { PathEngine } from './paths/path-engine.ts'
import type { PskAgreement } from './psk-agreement.ts'
import type { SerialTask } from './serial-task.ts'
import type { Signals } from './signals.ts'

interface Options {
  readonly map: Pick<HeldMap, 'peers' | 'saveSoon'>
  readonly signals: Signals
  readonly paths: Pick<PathEngine, 'hear' | 'lastSignalAt'>
  readonly announcer: Pick<Announcer, 'announce'>
  readonly keySignals: KeySignals
  readonly psk: Pick<PskAgreement, 'hear'>
  readonly apply: Pick<SerialTask, 'request'>
  readonly log: Log
}

export class IncomingSignals {
  readonly #options: Options
  readonly #heard = new HeardSignals()

  constructor(options: Options) {
    this.#options = options
  }

  /** Never throws: whoever can send a signal must not be able to stop the agent. */
  async hear(from: NodeId, sealed: string): Promise<void> {
    const { map, signals, paths, keySignals, psk, log } = this.#options
    const lastAt = (kind: Signal['kind']) =>
      kind === 'endpoints' ? paths.lastSignalAt(from) : this.#heard.lastAt(from, kind)
    const signal = await signals.open(map.peers.get(from), sealed, lastAt)
    // As the map has it by now.
    const sender = map.peers.get(from)
    if (sender === undefined || signal === undefined) return
    if (signal.kind === 'endpoints') return this.#hearEndpoints(sender, signal)
    this.#heard.note(from, signal)
    if (signal.kind === 'key') return keySignals.hear(sender, signal)
    try {
      await psk.hear(sender, signal)
    } catch (error) {
      log.warn('a pre-shared key could not be set', { problem: String(error) })
    }
  }

  forgetAllBut(peers: ReadonlyMap<NodeId, MeshPeer>): void {
    this.#options.signals.forgetAllBut(peers)
    this.#heard.forgetAllBut(peers)
  }

  #hearEndpoints(sender: MeshPeer, signal: EndpointsSignal): void {
    const { map, paths, announcer, apply } = this.#options
    const { moved, worthTrying } = paths.hear(sender.id, signal)
    if (moved) map.saveSoon()
    if (worthTrying) void apply.request()
    if (signal.reply) announcer.announce([sender], { reply: false })
  }
}
