/** Tells peers where this node is, as long as there is a connection over which to tell it. */
import type { SignalContent } from '../../crypto/signal.ts'
import type { Endpoint } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Log } from '../log.ts'
import type { SealedSignal, Signals } from './signals.ts'

export class Announcer {
  readonly #signals: Signals
  readonly #send: (signals: SealedSignal[]) => void
  readonly #log: Log
  /** One object per connection, so that what was begun in an earlier one can tell. */
  #connection: object | undefined
  #endpoints: readonly Endpoint[] = []

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
  relocate(endpoints: readonly Endpoint[]): boolean {
    if (String(endpoints) === String(this.#endpoints)) return false
    this.#endpoints = endpoints
    return true
  }

  /** @param reply whether they are asked for the same in return. */
  announce(peers: readonly MeshPeer[], { reply }: { readonly reply: boolean }): void {
    this.say(peers, { kind: 'endpoints', endpoints: [...this.#endpoints], reply })
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
