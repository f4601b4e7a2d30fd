/** Tells peers where this node is, as long as there is a connection over which to tell it. */
import type { SignalContent } from '../../crypto/signal.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Log } from '../log.ts'
import type { OwnPlace } from './paths/path-engine.ts'
import type { SealedSignal, Signals } from './signals.ts'

export class Announcer {
  readonly #signals: Signals
  readonly #send: (signals: SealedSignal[]) => void
  readonly #log: Log
  /** One object per connection, so that what was begun in an earlier one can tell. */
  #connection: object | undefined
  #place: OwnPlace = { endpoints: [], mapped: [], nat: 'unknown', probes: false }

  constructor(signals: Signals, send: (signals: SealedSignal[]) => void, log: Log) {
    this.#signals = signals
    this.#send = send
    this.#log = log
  }

  get isConnected(): boolean {
    return this.#connection !== undefined
  }

  connect(): void {
    this.#connection = {}
  }

  disconnect(): void {
    this.#connection = undefined
  }

  /** @returns whether this is news to the peers. */
  relocate(place: OwnPlace): boolean {
    if (JSON.stringify(place) === JSON.stringify(this.#place)) return false
    this.#place = place
    return true
  }

  /** @param reply whether they are asked for the same in return. */
  announce(peers: readonly MeshPeer[], { reply }: { readonly reply: boolean }): void {
    this.say(peers, { kind: 'endpoints', ...this.#place, reply })
  }

  say(peers: readonly MeshPeer[], content: SignalContent): void {
    const connection = this.#connection
    if (connection === undefined || peers.length === 0) return
    const send = async () => {
      for await (const batch of this.#signals.seal(peers, content)) {
        if (this.#connection !== connection) return
        this.#send(batch)
      }
    }
    send().catch((error) => this.#log.warn('signals could not be sent', { problem: String(error) }))
  }

  /** Seals now, for what must not wait then. @returns how to send it. */
  async prepare(peers: readonly MeshPeer[], content: SignalContent): Promise<() => void> {
    const batches: SealedSignal[][] = []
    for await (const batch of this.#signals.seal(peers, content)) batches.push(batch)
    return () => {
      if (this.#connection !== undefined) for (const batch of batches) this.#send(batch)
    }
  }
}
