/** When each peer last sent a signal of a kind: one that is not newer is a repetition. Endpoints keep their own time, which outlives a restart. */
import type { Signal } from '../../crypto/signal.ts'
import type { NodeId } from '../../protocol/ids.ts'

export class HeardSignals {
  readonly #heard = new Map<NodeId, Map<Signal['kind'], number>>()

  lastAt(from: NodeId, kind: Signal['kind']): number | undefined {
    return this.#heard.get(from)?.get(kind)
  }

  note(from: NodeId, { kind, at }: Pick<Signal, 'kind' | 'at'>): void {
    const times = this.#heard.get(from) ?? new Map<Signal['kind'], number>()
    this.#heard.set(from, times.set(kind, at))
  }

  forgetAllBut(peers: ReadonlyMap<NodeId, unknown>): void {
    for (const id of this.#heard.keys()) if (!peers.has(id)) this.#heard.delete(id)
  }
}
