/**
 * The way to one node. How much lies in the socket's own buffer cannot be asked of a Durable Object's socket, so the relay puts marks into what it
 * sends and the node sends them back: what is before a mark that came back has been read. A mark is random, because a node that could guess it
 * could have a relay pile up what it never reads.
 */
import type { NodeId } from '../protocol/ids.ts'
import {
  RELAY_BATCH_BYTES,
  RELAY_MARK_BYTES,
  RELAY_QUEUE_BYTES,
  RELAY_WINDOW_BYTES,
} from '../protocol/limits.ts'
import { encodePackets, packetSize, type RelayPacket, type RelayReply } from '../protocol/relay.ts'
import { FairQueue, type Queued } from './fair-queue.ts'

/** What all outlets of a relay hold together. */
export interface Budget {
  used: number
  readonly max: number
}

export interface OutletOptions {
  readonly send: (message: string | Uint8Array<ArrayBuffer>) => void
  readonly budget: Budget
  readonly newMark: () => string
  readonly now: () => number
  /** Told what left for the node. */
  readonly onSent: (packets: number, bytes: number) => void
  readonly onDropped: (source: NodeId, reason: 'queue' | 'full', packets: number) => void
}

interface Mark {
  readonly text: string
  /** Since the mark before. */
  readonly bytes: number
  readonly at: number
}

export class Outlet {
  readonly #options: OutletOptions
  readonly #queue = new FairQueue(RELAY_QUEUE_BYTES)
  readonly #marks: Mark[] = []
  /** Sent, and not known to have arrived. */
  #unread = 0
  /** Of that, what was sent after the last mark. */
  #unmarked = 0

  constructor(options: OutletOptions) {
    this.#options = options
  }

  say(reply: RelayReply): void {
    this.sayText(JSON.stringify(reply))
  }

  sayText(text: string): void {
    this.#options.send(text)
    this.#sent(text.length)
  }

  /** Packets from one sender, with the index that it has on this socket. */
  forward(source: NodeId, packets: readonly RelayPacket[], size: number): void {
    if (this.#queue.bytes === 0 && size <= this.#room) {
      this.#transmit(packets, size)
      return
    }
    const { budget, onDropped } = this.#options
    for (const packet of packets) {
      if (budget.used + packetSize(packet.bytes) > budget.max) {
        onDropped(source, 'full', 1)
        continue
      }
      const before = this.#queue.bytes
      for (const displaced of this.#queue.push(source, packet)) onDropped(displaced.source, 'queue', 1)
      budget.used += this.#queue.bytes - before
    }
    this.#pump()
  }

  /** The node has read up to this mark. @returns false for one that is not known, such as one from before this object was woken. */
  reached(text: string): boolean {
    const at = this.#marks.findIndex((mark) => mark.text === text)
    if (at < 0) return false
    for (const { bytes } of this.#marks.splice(0, at + 1)) {
      this.#unread -= bytes
      this.#options.budget.used -= bytes
    }
    this.#pump()
    return true
  }

  /** What is sent but not yet marked is marked: without further traffic it would be counted for ever. */
  markRest(): void {
    if (this.#unmarked > 0) this.#mark()
  }

  /** How long the oldest mark has been out, in ms. */
  get stalledFor(): number {
    const [oldest] = this.#marks
    return oldest === undefined ? 0 : this.#options.now() - oldest.at
  }

  /** The pair is closed: its index may become another's. */
  forget(source: NodeId): void {
    const before = this.#queue.bytes
    const dropped = this.#queue.drop(source)
    this.#options.budget.used -= before - this.#queue.bytes
    if (dropped.length > 0) this.#options.onDropped(source, 'queue', dropped.length)
  }

  /** The socket is gone, and its buffer with it. */
  end(): void {
    this.#options.budget.used -= this.#unread + this.#queue.bytes
    this.#unread = 0
  }

  get #room(): number {
    const { used, max } = this.#options.budget
    return Math.min(RELAY_WINDOW_BYTES - this.#unread, max - used)
  }

  #pump(): void {
    for (;;) {
      const batch = this.#nextBatch()
      if (batch.packets.length === 0) return
      this.#transmit(batch.packets, batch.size)
    }
  }

  #nextBatch(): { readonly packets: readonly Queued[]; readonly size: number } {
    const packets: Queued[] = []
    let size = 0
    // What is in the queue is in the budget already.
    const room = Math.min(RELAY_BATCH_BYTES, RELAY_WINDOW_BYTES - this.#unread)
    for (let next = this.#queue.next; next !== undefined && size + next <= room; next = this.#queue.next) {
      const packet = this.#queue.shift()
      if (packet === undefined) break
      packets.push(packet)
      size += next
    }
    this.#options.budget.used -= size
    return { packets, size }
  }

  #transmit(packets: readonly RelayPacket[], size: number): void {
    this.#options.send(encodePackets(packets))
    this.#options.onSent(packets.length, size)
    this.#sent(size)
  }

  #sent(bytes: number): void {
    this.#options.budget.used += bytes
    this.#unread += bytes
    this.#unmarked += bytes
    if (this.#unmarked >= RELAY_MARK_BYTES) this.#mark()
  }

  #mark(): void {
    const { newMark, now, send } = this.#options
    const mark = { text: newMark(), bytes: this.#unmarked, at: now() }
    this.#marks.push(mark)
    this.#unmarked = 0
    // Not counted itself: a mark of a mark would never end.
    send(JSON.stringify({ type: 'mark', mark: mark.text } satisfies RelayReply))
  }
}
