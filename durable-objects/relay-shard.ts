/**
 * A part of the gateway's relay: the pairs of nodes that hash to it. All it does is in relay/core.ts; here are its sockets, which hibernate, and
 * what of the core outlives its memory, in their attachments. It has no storage.
 */
import { DurableObject } from 'cloudflare:workers'
import { randomId } from '../crypto/bytes.ts'
import { ERRORS, type ErrorCode } from '../protocol/errors.ts'
import { CLOSE, PING, PONG } from '../protocol/frames.ts'
import { NodeId } from '../protocol/ids.ts'
import { RELAY_SUBPROTOCOL } from '../protocol/relay.ts'
import type { Result } from '../protocol/result.ts'
import type { Account } from '../relay/accounts.ts'
import { RelayCore, type RelaySocket } from '../relay/core.ts'
import { readGrant } from '../relay/grant.ts'
import type { Allowance } from '../relay/member.ts'
import { closeQuietly } from './close.ts'
import { readConfig } from './config.ts'
import { count } from './counters.ts'
import type { Env } from './env.ts'
import { problemResponse } from './problem.ts'
import { readRelayAttachment, writeRelayAttachment } from './relay-attachment.ts'

/** How often to look whether nodes read what they are sent, while anything is on its way. A pending timer keeps the object awake. */
const TICK_MS = 1_000

export class RelayShard extends DurableObject<Env> {
  readonly #core: RelayCore
  readonly #sockets = new WeakMap<WebSocket, RelaySocket>()
  #tick: ReturnType<typeof setTimeout> | undefined

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#core = new RelayCore({
      now: () => Date.now(),
      newMark: randomId,
      verifyGrant: (grant, node) => this.#allowance(grant, node),
    })
    // Belongs to the process, not to storage: set anew each time the object wakes.
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG))
    for (const socket of ctx.getWebSockets()) this.#restore(socket)
  }

  /** The upgrade. The Worker has had the node's proof checked, and says whose it was. */
  override async fetch(request: Request): Promise<Response> {
    const node = NodeId.parse(request.headers.get('claw-node'))
    const refuse = (code: ErrorCode) =>
      problemResponse({ code }, request.headers.get('claw-request-id') ?? '')
    const allowance = await this.#allowance(request.headers.get('claw-grant') ?? '', node)
    if (!allowance.ok) return refuse(allowance.error)
    const { 0: client, 1: server } = new WebSocketPair()
    const joined = this.#core.join(this.#wrap(server), node, allowance.value)
    if (!joined.ok) return refuse(joined.error)
    this.ctx.acceptWebSocket(server, [node])
    count('relay_upgrades')
    return new Response(null, {
      status: 101,
      webSocket: client,
      headers: { 'sec-websocket-protocol': RELAY_SUBPROTOCOL },
    })
  }

  /** The only catch of a relay's socket: whatever a node sends, the others go on. */
  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    try {
      const end = this.#sockets.get(socket)
      if (end === undefined) return closeQuietly(socket, CLOSE.goingAway)
      await this.#core.receive(end, typeof message === 'string' ? message : new Uint8Array(message))
      this.#count()
      this.#watch()
    } catch (error) {
      console.error({ event: 'relay_failed', error: String(error) })
      closeQuietly(socket, CLOSE.failed, ERRORS.E_INTERNAL.title)
    }
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    this.#leave(socket)
    closeQuietly(socket, code)
  }

  override webSocketError(socket: WebSocket): void {
    this.#leave(socket)
    closeQuietly(socket, CLOSE.goingAway)
  }

  /** The node was removed or is held. */
  cut(node: NodeId, code: 'E_NODE_REMOVED' | 'E_NODE_QUARANTINED'): void {
    this.#core.cut(node, code)
  }

  /** What this object has relayed since it woke. */
  account(): Account {
    return this.#core.accounts.total
  }

  async #allowance(grant: string, node: NodeId): Promise<Result<Allowance, ErrorCode>> {
    const { signing, origins } = await readConfig(this.env)
    const read = await readGrant(grant, node, { keys: [signing.key], origins, now: Date.now() })
    return read.ok ? { ok: true, value: read.value.allowance } : read
  }

  #restore(socket: WebSocket): void {
    const state = readRelayAttachment(socket)
    if (state === undefined) closeQuietly(socket, CLOSE.goingAway)
    else this.#core.restore(this.#wrap(socket), state)
  }

  #wrap(socket: WebSocket): RelaySocket {
    const wrapped: RelaySocket = {
      send(message) {
        try {
          socket.send(message)
        } catch {
          // Its close event is on the way.
        }
      },
      close: (code, reason) => closeQuietly(socket, code, reason),
      keep(state) {
        try {
          writeRelayAttachment(socket, state)
        } catch {
          // The socket is gone, and its attachment with it.
        }
      },
    }
    this.#sockets.set(socket, wrapped)
    return wrapped
  }

  #leave(socket: WebSocket): void {
    const end = this.#sockets.get(socket)
    if (end !== undefined) this.#core.leave(end)
  }

  /** The isolate's counters follow the core's accounts. */
  readonly #counted = { packets: 0, bytes: 0, dropped: 0 }
  #count(): void {
    const { packetsOut, bytesOut, dropped } = this.#core.accounts.total
    const drops = Object.values(dropped).reduce((sum, packets) => sum + packets, 0)
    count('relay_packets_forwarded', packetsOut - this.#counted.packets)
    count('relay_bytes_forwarded', bytesOut - this.#counted.bytes)
    count('relay_packets_dropped', drops - this.#counted.dropped)
    Object.assign(this.#counted, { packets: packetsOut, bytes: bytesOut, dropped: drops })
  }

  #watch(): void {
    if (this.#tick !== undefined || this.#core.buffered === 0) return
    this.#tick = setTimeout(() => {
      this.#tick = undefined
      this.#core.tick()
      this.#watch()
    }, TICK_MS)
  }
}
