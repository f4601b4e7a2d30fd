/** Packets on their way to a relay, gathered into messages: what WireGuard sends in one go leaves in one message. */
import { RELAY_BATCH_BYTES } from '../../../protocol/limits.ts'
import { encodePackets, packetSize, type RelayPacket } from '../../../protocol/relay.ts'

/** What the socket may hold unsent. Beyond it packets are dropped, as by any router: WireGuard expects that, and old packets are only late. */
const MAX_BUFFERED_BYTES = 256 * 1024

interface Sink {
  readonly bufferedAmount: number
  send(message: Uint8Array): void
}

export class Outgoing {
  readonly #sink: Sink
  #packets: RelayPacket[] = []
  #bytes = 0
  #flushing: NodeJS.Immediate | undefined
  dropped = 0

  constructor(sink: Sink) {
    this.#sink = sink
  }

  add(index: number, bytes: Uint8Array): void {
    if (this.#sink.bufferedAmount + this.#bytes > MAX_BUFFERED_BYTES) {
      this.dropped++
      return
    }
    this.#packets.push({ index, bytes })
    this.#bytes += packetSize(bytes)
    if (this.#bytes >= RELAY_BATCH_BYTES) this.#flush()
    else this.#flushing ??= setImmediate(() => this.#flush())
  }

  stop(): void {
    clearImmediate(this.#flushing)
    this.#packets = []
    this.#bytes = 0
  }

  #flush(): void {
    clearImmediate(this.#flushing)
    this.#flushing = undefined
    if (this.#packets.length === 0) return
    const message = encodePackets(this.#packets)
    this.#packets = []
    this.#bytes = 0
    this.#sink.send(message)
  }
}
