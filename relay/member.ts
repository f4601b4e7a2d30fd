/** One node at a relay: what it may, which peers it has opened under which index, and its way out. */
import type { NodeId } from '../protocol/ids.ts'
import { RELAY_BURST_MS, RELAY_CONTROL } from '../protocol/limits.ts'
import { TokenBucket } from '../protocol/token-bucket.ts'
import type { Outlet } from './outlet.ts'

export interface Allowance {
  readonly peers: readonly NodeId[]
  readonly rate: { readonly bytes: number; readonly packets: number }
  /** Unix ms. */
  readonly issuedAt: number
  readonly until: number
}

/** What must outlive the memory of an object that hibernates. */
export interface MemberState {
  readonly node: NodeId
  readonly allowance: Allowance
  readonly opened: readonly (readonly [peer: NodeId, index: number])[]
  readonly nextIndex: number
  readonly violations: number
}

const INDEXES = 0x1_0000

export class Member {
  readonly node: NodeId
  readonly outlet: Outlet
  readonly control = new TokenBucket(RELAY_CONTROL)
  violations: number
  readonly #opened: Map<NodeId, number>
  readonly #byIndex: Map<number, NodeId>
  #nextIndex: number
  #allowance: Allowance
  #peers: ReadonlySet<NodeId>
  #bytes: TokenBucket
  #packets: TokenBucket

  constructor(state: MemberState, outlet: Outlet) {
    this.node = state.node
    this.outlet = outlet
    this.violations = state.violations
    this.#opened = new Map(state.opened)
    this.#byIndex = new Map(state.opened.map(([peer, index]) => [index, peer]))
    this.#nextIndex = state.nextIndex
    this.#allowance = state.allowance
    this.#peers = new Set(state.allowance.peers)
    this.#bytes = limitOf(state.allowance.rate.bytes)
    this.#packets = limitOf(state.allowance.rate.packets)
  }

  get state(): MemberState {
    const { node, violations } = this
    return {
      node,
      violations,
      allowance: this.#allowance,
      opened: [...this.#opened],
      nextIndex: this.#nextIndex,
    }
  }

  get until(): number {
    return this.#allowance.until
  }

  get peers(): readonly NodeId[] {
    return [...this.#opened.keys()]
  }

  mayTalkTo(peer: NodeId, now: number): boolean {
    return now < this.#allowance.until && this.#peers.has(peer)
  }

  /** The rate goes on as it was used, unless it is another. */
  renew(allowance: Allowance): void {
    const { rate } = this.#allowance
    if (rate.bytes !== allowance.rate.bytes) this.#bytes = limitOf(allowance.rate.bytes)
    if (rate.packets !== allowance.rate.packets) this.#packets = limitOf(allowance.rate.packets)
    this.#allowance = allowance
    this.#peers = new Set(allowance.peers)
  }

  /** Whether a packet of this size may be taken now. */
  takePacket(size: number, now: number): boolean {
    return this.#packets.take(now) && this.#bytes.take(now, size)
  }

  indexOf(peer: NodeId): number | undefined {
    return this.#opened.get(peer)
  }

  peerAt(index: number): NodeId | undefined {
    return this.#byIndex.get(index)
  }

  /** An index that was let go is the last to be given again: packets that were on their way must not reach another peer. */
  open(peer: NodeId): number {
    const existing = this.#opened.get(peer)
    if (existing !== undefined) return existing
    let index = this.#nextIndex
    while (this.#byIndex.has(index)) index = (index + 1) % INDEXES
    this.#nextIndex = (index + 1) % INDEXES
    this.#opened.set(peer, index)
    this.#byIndex.set(index, peer)
    return index
  }

  close(peer: NodeId): boolean {
    const index = this.#opened.get(peer)
    if (index === undefined) return false
    this.#opened.delete(peer)
    this.#byIndex.delete(index)
    this.outlet.forget(peer)
    return true
  }
}

const limitOf = (perSecond: number): TokenBucket =>
  new TokenBucket({ burst: Math.max(1, (perSecond * RELAY_BURST_MS) / 1000), perSecond })
