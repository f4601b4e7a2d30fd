/** Signals between this node and its peers: who may say what, and that it is said once. */
import type { importSealingKey } from '../../crypto/hpke.ts'
import { openSignal, type Signal, type SignalContent, sealSignal } from '../../crypto/signal.ts'
import type { FleetId, NodeId, SealingKey } from '../../protocol/ids.ts'
import { MAX_SIGNALS_PER_FRAME } from '../../protocol/limits.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import { hasAgent } from './agent-peer.ts'
import { SenderLimit } from './sender-limit.ts'

export interface SealedSignal {
  readonly to: NodeId
  /** Of two of one kind to one peer only the newer is worth sending. */
  readonly kind: Signal['kind']
  readonly sealed: string
}

/** A clock may be wrong, but one that is this wrong would make every later signal of its node look old. */
const MAX_AHEAD_MS = 10 * 60_000

interface Counts {
  /** Not in our map, or no longer. */
  unknownSender: number
  /** More than a peer has reason to send. */
  tooMany: number
  unreadable: number
  /** Late or repeated. */
  old: number
  /** Of a time that is still to come. */
  early: number
}
/** Signals that were not heeded, by reason; a reason there never was is absent. */
export type IgnoredSignals = Readonly<Partial<Counts>>

interface Options {
  readonly fleet: FleetId
  readonly self: NodeId
  readonly sealingKey: Awaited<ReturnType<typeof importSealingKey>>
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
}

export class Signals {
  readonly #options: Options
  readonly #limit: SenderLimit
  readonly #ignored: Partial<Counts> = {}
  #lastAt = 0

  constructor(options: Options) {
    this.#options = options
    this.#limit = new SenderLimit(options.clock)
  }

  get ignored(): IgnoredSignals {
    return { ...this.#ignored }
  }

  /** Batches that fit a frame each. */
  async *seal(all: readonly MeshPeer[], content: SignalContent): AsyncGenerator<SealedSignal[]> {
    const peers = all.filter(hasAgent)
    for (let start = 0; start < peers.length; start += MAX_SIGNALS_PER_FRAME) {
      const batch = peers.slice(start, start + MAX_SIGNALS_PER_FRAME)
      const sealed = await Promise.allSettled(
        batch.map(({ id, seal }) => this.#sealFor(id, seal, { ...content, at: this.#nextAt() })),
      )
      // One peer with a key to which nothing can be sealed must not silence this node for all others.
      const signals = sealed.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
      if (signals.length > 0) yield signals
    }
  }

  /** Undefined, and counted, if it is not to be heeded. `lastAt` of its kind is asked when it is open: another may have come meanwhile. */
  async open(
    sender: MeshPeer | undefined,
    sealed: string,
    lastAt: (kind: Signal['kind']) => number | undefined,
  ): Promise<Signal | undefined> {
    if (sender?.seal === undefined) return this.#ignore('unknownSender')
    if (!this.#limit.admit(sender.id)) return this.#ignore('tooMany')
    const { fleet, self, sealingKey, clock } = this.#options
    const opened = await openSignal(sealingKey, sealed, { fleet, from: sender.id, to: self }, sender.seal)
    if (!opened.ok) return this.#ignore('unreadable')
    if (opened.value.at <= (lastAt(opened.value.kind) ?? Number.NEGATIVE_INFINITY)) return this.#ignore('old')
    if (opened.value.at > clock.now() + MAX_AHEAD_MS) return this.#ignore('early')
    return opened.value
  }

  forgetAllBut(peers: ReadonlyMap<NodeId, unknown>): void {
    this.#limit.forgetAllBut(peers)
  }

  async #sealFor(to: NodeId, seal: SealingKey, signal: Signal): Promise<SealedSignal> {
    const { fleet, self, sealingKey } = this.#options
    const sealed = await sealSignal(seal, signal, { fleet, from: self, to }, sealingKey)
    return { to, kind: signal.kind, sealed }
  }

  /** Strictly rising, so that of two signals in one millisecond the second is not taken for a repetition. */
  #nextAt(): number {
    this.#lastAt = Math.max(this.#options.clock.now(), this.#lastAt + 1)
    return this.#lastAt
  }

  #ignore(reason: keyof Counts): undefined {
    this.#ignored[reason] = (this.#ignored[reason] ?? 0) + 1
    return undefined
  }
}
