/**
 * A relay without its sockets: who is connected, which pair may talk, and what becomes of each packet. The gateway's RelayShard and `claw relay`
 * are shells around it. It reads no packet, stores none, and forwards only where both ends hold a grant that names the other.
 */
import { ERRORS, type ErrorCode } from '../protocol/errors.ts'
import { CLOSE, PING, PONG } from '../protocol/frames.ts'
import type { NodeId } from '../protocol/ids.ts'
import { parseJson } from '../protocol/json.ts'
import {
  MAX_RELAY_BUFFERED_BYTES,
  MAX_RELAY_SOCKETS,
  MAX_VIOLATIONS,
  RELAY_GRANT_MS,
  RELAY_STALL_MS,
} from '../protocol/limits.ts'
import {
  type ClosedReason,
  decodePackets,
  packetSize,
  type RelayPacket,
  RelayRequest,
} from '../protocol/relay.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { Accounts, type Drop } from './accounts.ts'
import { type Allowance, Member, type MemberState } from './member.ts'
import { type Budget, Outlet } from './outlet.ts'

/** One socket, as the core sees it. None of these may throw: a peer may vanish between two lines. */
export interface RelaySocket {
  send(message: string | Uint8Array<ArrayBuffer>): void
  close(code: number, reason: string): void
  /** What the object is to remember when it wakes. */
  keep(state: MemberState): void
}

export interface RelayCoreOptions {
  readonly now: () => number
  /** Random text of at most 32 characters. */
  readonly newMark: () => string
  /** A grant for this very node, or why not. */
  readonly verifyGrant: (grant: string, node: NodeId) => Promise<Result<Allowance, ErrorCode>>
  readonly maxBuffered?: number
}

/** Packets of one sender to one peer. */
interface Run {
  readonly packets: Uint8Array[]
  size: number
}

/** Longest text message: a grant, and room for what is around it. */
const MAX_TEXT_LENGTH = 16 * 1024

export class RelayCore {
  readonly accounts = new Accounts()
  readonly #options: RelayCoreOptions
  readonly #budget: Budget
  readonly #members = new Map<RelaySocket, Member>()
  readonly #sockets = new Map<NodeId, RelaySocket>()
  /** Until their grants have ended, nodes that were cut come back with none of before. */
  readonly #cut = new Map<NodeId, number>()

  constructor(options: RelayCoreOptions) {
    this.#options = options
    this.#budget = { used: 0, max: options.maxBuffered ?? MAX_RELAY_BUFFERED_BYTES }
  }

  get size(): number {
    return this.#members.size
  }

  /** Bytes that no node has read yet. */
  get buffered(): number {
    return this.#budget.used
  }

  /** The newest socket is the node; the one before is told so and closed. */
  join(socket: RelaySocket, node: NodeId, allowance: Allowance): Result<void, ErrorCode> {
    if (this.#wasCut(node, allowance)) return err('E_RELAY_GRANT')
    const before = this.#sockets.get(node)
    if (before === undefined && this.#members.size >= MAX_RELAY_SOCKETS) return err('E_RELAY_FULL')
    if (before !== undefined) this.#end(before, CLOSE.superseded, 'E_SESSION_SUPERSEDED')
    const state = { node, allowance, opened: [], nextIndex: 0, violations: 0 }
    this.restore(socket, state)
    socket.keep(state)
    return ok(undefined)
  }

  /** A socket that was here before the object slept. */
  restore(socket: RelaySocket, state: MemberState): void {
    const { now, newMark } = this.#options
    const outlet = new Outlet({
      send: (message) => socket.send(message),
      budget: this.#budget,
      newMark,
      now,
      onSent: (packets, bytes) => this.accounts.handedOn(state.node, packets, bytes),
      onDropped: (source, reason, packets) => this.accounts.dropped(source, reason, packets),
    })
    this.#members.set(socket, new Member(state, outlet))
    this.#sockets.set(state.node, socket)
  }

  /** Whatever comes over a socket. Returns a promise only where a signature has to be checked. */
  receive(socket: RelaySocket, message: string | Uint8Array): Promise<void> | undefined {
    const member = this.#members.get(socket)
    if (member === undefined) return undefined
    if (typeof message === 'string') return this.#receiveText(socket, member, message)
    const packets = decodePackets(message)
    if (packets === undefined) this.#violation(socket, member, 'E_FRAME_MALFORMED')
    else this.#forward(socket, member, packets)
    return undefined
  }

  /** The socket is closed. */
  leave(socket: RelaySocket): void {
    const member = this.#members.get(socket)
    if (member === undefined) return
    this.#members.delete(socket)
    if (this.#sockets.get(member.node) === socket) this.#sockets.delete(member.node)
    for (const peer of member.peers) this.#tellClosed(peer, member.node, 'absent')
    member.outlet.end()
    this.accounts.close(member.node)
  }

  /** The node was removed or is held: not another packet of it or for it. */
  cut(node: NodeId, code: 'E_NODE_REMOVED' | 'E_NODE_QUARANTINED'): void {
    const now = this.#options.now()
    for (const [cut, at] of this.#cut) if (now - at > RELAY_GRANT_MS) this.#cut.delete(cut)
    this.#cut.set(node, now)
    const socket = this.#sockets.get(node)
    const closeCode = code === 'E_NODE_REMOVED' ? CLOSE.removed : CLOSE.quarantined
    if (socket !== undefined) this.#end(socket, closeCode, code)
  }

  /**
   * To be called every few seconds as long as it says that it has work: marks what was sent last, and closes sockets of nodes that do not read.
   * @returns whether anything is on its way.
   */
  tick(): boolean {
    for (const [socket, { outlet }] of [...this.#members]) {
      if (outlet.stalledFor > RELAY_STALL_MS) this.#end(socket, CLOSE.stalled, 'E_LEASE_EXPIRED')
      else outlet.markRest()
    }
    return this.buffered > 0
  }

  #receiveText(socket: RelaySocket, member: Member, text: string): Promise<void> | undefined {
    const request = readRequest(text)
    // Marks come as often as the relay asks for them.
    if (request.ok && request.value !== PING && request.value.type === 'mark') {
      if (member.outlet.reached(request.value.mark)) return undefined
    }
    if (!member.control.take(this.#options.now())) {
      this.#violation(socket, member, 'E_FRAME_RATE')
      return undefined
    }
    if (request.ok) return this.#answer(socket, member, request.value)
    this.#violation(socket, member, request.error)
    return undefined
  }

  #answer(
    socket: RelaySocket,
    member: Member,
    request: RelayRequest | typeof PING,
  ): Promise<void> | undefined {
    if (request === PING) {
      member.outlet.sayText(PONG)
      return undefined
    }
    switch (request.type) {
      case 'open':
        this.#open(socket, member, request.peer)
        return undefined
      case 'close':
        if (member.close(request.peer)) {
          this.#tellClosed(request.peer, member.node, 'absent')
          socket.keep(member.state)
        }
        return undefined
      case 'mark':
        return undefined
      case 'grant':
        return this.#renew(socket, member, request.grant)
      default:
        return request satisfies never
    }
  }

  #open(socket: RelaySocket, member: Member, peer: NodeId): void {
    const { node, outlet } = member
    const now = this.#options.now()
    if (!member.mayTalkTo(peer, now)) {
      outlet.say({ type: 'closed', peer, reason: 'refused' })
      return
    }
    const before = member.indexOf(peer)
    const index = member.open(peer)
    if (before === undefined) socket.keep(member.state)
    const other = this.#memberOf(peer)
    const back = other?.indexOf(node)
    if (other === undefined || back === undefined) {
      outlet.say({ type: 'closed', peer, reason: 'absent' })
      other?.outlet.say({ type: 'asked', peer: node })
    } else if (!other.mayTalkTo(node, now)) outlet.say({ type: 'closed', peer, reason: 'refused' })
    else {
      outlet.say({ type: 'opened', peer, index })
      other.outlet.say({ type: 'opened', peer: node, index: back })
    }
  }

  async #renew(socket: RelaySocket, member: Member, grant: string): Promise<void> {
    const verified = await this.#options.verifyGrant(grant, member.node)
    if (this.#members.get(socket) !== member) return
    if (!verified.ok) return this.#violation(socket, member, verified.error)
    if (this.#wasCut(member.node, verified.value)) return this.#violation(socket, member, 'E_RELAY_GRANT')
    const allowance = verified.value
    member.renew(allowance)
    const allowed = new Set(allowance.peers)
    for (const peer of member.peers) {
      if (allowed.has(peer)) continue
      member.close(peer)
      member.outlet.say({ type: 'closed', peer, reason: 'refused' })
      this.#tellClosed(peer, member.node, 'refused')
    }
    socket.keep(member.state)
    member.outlet.say({ type: 'granted', until: allowance.until })
  }

  /** Packets of one message that go to one peer are handed on in one. */
  #forward(socket: RelaySocket, member: Member, packets: readonly RelayPacket[]): void {
    const now = this.#options.now()
    if (now >= member.until) {
      this.#end(socket, CLOSE.grantExpired, 'E_RELAY_GRANT_EXPIRED')
      return
    }
    let bytes = 0
    const runs = new Map<number, Run>()
    for (const packet of packets) {
      const size = packetSize(packet.bytes)
      bytes += size
      if (!member.takePacket(size, now)) {
        this.accounts.dropped(member.node, 'rate')
        continue
      }
      const run = runs.get(packet.index) ?? { packets: [], size: 0 }
      runs.set(packet.index, run)
      run.packets.push(packet.bytes)
      run.size += size
    }
    this.accounts.tookIn(member.node, packets.length, bytes)
    for (const [index, run] of runs) {
      const reason = this.#deliver(member, index, run, now)
      if (reason !== undefined) this.accounts.dropped(member.node, reason, run.packets.length)
    }
  }

  /** @returns why not. */
  #deliver(member: Member, index: number, { packets, size }: Run, now: number): Drop | undefined {
    const { node } = member
    const peer = member.peerAt(index)
    if (peer === undefined) return 'closed'
    const other = this.#memberOf(peer)
    const back = other?.indexOf(node)
    if (other === undefined || back === undefined) return 'absent'
    if (!member.mayTalkTo(peer, now) || !other.mayTalkTo(node, now)) return 'refused'
    const readdressed = packets.map((bytes) => ({ index: back, bytes }))
    other.outlet.forward(node, readdressed, size)
    return undefined
  }

  /** The peer's end stays open: when this node comes back it is told. */
  #tellClosed(to: NodeId, about: NodeId, reason: ClosedReason): void {
    const other = this.#memberOf(to)
    if (other?.indexOf(about) === undefined) return
    other.outlet.forget(about)
    other.outlet.say({ type: 'closed', peer: about, reason })
  }

  #wasCut(node: NodeId, { issuedAt }: Allowance): boolean {
    const at = this.#cut.get(node)
    return at !== undefined && issuedAt <= at
  }

  #memberOf(node: NodeId): Member | undefined {
    const socket = this.#sockets.get(node)
    return socket && this.#members.get(socket)
  }

  #violation(socket: RelaySocket, member: Member, code: ErrorCode): void {
    member.violations += 1
    if (member.violations >= MAX_VIOLATIONS) {
      this.#end(socket, CLOSE.violations, code)
      return
    }
    member.outlet.say({ type: 'error', code, message: ERRORS[code].title })
    socket.keep(member.state)
  }

  #end(socket: RelaySocket, closeCode: number, code: ErrorCode): void {
    this.#members.get(socket)?.outlet.say({ type: 'error', code, message: ERRORS[code].title })
    this.leave(socket)
    socket.close(closeCode, code)
  }
}

function readRequest(text: string): Result<RelayRequest | typeof PING, ErrorCode> {
  if (text === PING) return ok(PING)
  if (text.length > MAX_TEXT_LENGTH) return err('E_FRAME_TOO_LARGE')
  const request = RelayRequest.safeParse(parseJson(text))
  return request.success ? ok(request.data) : err('E_FRAME_INVALID')
}
