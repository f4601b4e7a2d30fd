/**
 * What waits for one node: a queue for each sender, served in turn, bounded together. When it is full, the oldest packet of whoever has most in it
 * goes, so that a flood displaces itself and nobody else.
 */
import type { NodeId } from '../protocol/ids.ts'
import { packetSize, type RelayPacket } from '../protocol/relay.ts'

export interface Queued extends RelayPacket {
  readonly source: NodeId
}

interface Lane {
  packets: RelayPacket[]
  bytes: number
}

export class FairQueue {
  readonly #maxBytes: number
  /** In the order in which they are served: the first is next. */
  readonly #lanes = new Map<NodeId, Lane>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Size of the packet that `shift` gives. */
  get next(): number | undefined {
    for (const { packets } of this.#lanes.values()) if (packets[0]) return packetSize(packets[0].bytes)
    return undefined
  }

  /** Keeps a copy: the packet is a view of a message that would stay with it. @returns what had to go for it. */
  push(source: NodeId, { index, bytes }: RelayPacket): Queued[] {
    const lane = this.#lanes.get(source) ?? { packets: [], bytes: 0 }
    this.#lanes.set(source, lane)
    lane.packets.push({ index, bytes: bytes.slice() })
    lane.bytes += packetSize(bytes)
    this.#bytes += packetSize(bytes)
    const displaced: Queued[] = []
    while (this.#bytes > this.#maxBytes) {
      const oldest = this.#take(this.#longest())
      if (oldest === undefined) break
      displaced.push(oldest)
    }
    return displaced
  }

  /** Each sender in turn. */
  shift(): Queued | undefined {
    const source = this.#lanes.keys().next().value
    if (source === undefined) return undefined
    const lane = this.#lanes.get(source)
    const packet = this.#take(source)
    if (lane !== undefined && this.#lanes.delete(source)) this.#lanes.set(source, lane)
    return packet
  }

  /** @returns what the sender had in it. */
  drop(source: NodeId): readonly RelayPacket[] {
    const lane = this.#lanes.get(source)
    if (lane === undefined) return []
    this.#lanes.delete(source)
    this.#bytes -= lane.bytes
    return lane.packets
  }

  #take(source: NodeId | undefined): Queued | undefined {
    const lane = source === undefined ? undefined : this.#lanes.get(source)
    const packet = lane?.packets.shift()
    if (source === undefined || lane === undefined || packet === undefined) return undefined
    lane.bytes -= packetSize(packet.bytes)
    this.#bytes -= packetSize(packet.bytes)
    if (lane.packets.length === 0) this.#lanes.delete(source)
    return { source, ...packet }
  }

  #longest(): NodeId | undefined {
    let longest: NodeId | undefined
    let most = 0
    for (const [source, { bytes }] of this.#lanes) {
      if (bytes <= most) continue
      longest = source
      most = bytes
    }
    return longest
  }
}
