/**
 * One connection to a part of a relay, kept up as long as there are peers to be reached through it.
 *
 *     idle ──wanted, granted──▶ dialling ──open──▶ up ──lost──▶ waiting ──▶ dialling
 */
import type { IncomingMessage } from 'node:http'
import type { WebSocket } from 'ws'
import { parseProblem } from '../../../host/problem.ts'
import { PING, PONG } from '../../../protocol/frames.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { parseJson } from '../../../protocol/json.ts'
import { HEARTBEAT_INTERVAL_MS } from '../../../protocol/limits.ts'
import { decodePackets, RelayReply, type RelayRequest } from '../../../protocol/relay.ts'
import type { Clock, Timer } from '../../clock.ts'
import type { Log } from '../../log.ts'
import { Heartbeat } from '../../session/heartbeat.ts'
import { Outgoing } from './outgoing.ts'

/** A relay that restarts has all its nodes back within seconds, because their traffic waits; one that stays away is asked less and less. */
const RECONNECT_MIN_MS = 250
const RECONNECT_BASE_MS = 2_000
const RECONNECT_CAP_MS = 15_000
/** A connection that lived this long begins the count anew. */
const STABLE_MS = 30_000
/** Peers that were refused are opened again: their own grant may have come later than ours. */
const REOPEN_MS = 15_000
/** A refusal is short. */
const MAX_REFUSAL_BYTES = 16 * 1024

interface Options {
  readonly name: string
  readonly clock: Clock
  readonly log: Log
  /** Opens a socket with a fresh proof and the grant in force. */
  readonly dial: () => Promise<WebSocket>
  /** Whether the grant in force names the peer. */
  readonly isGranted: (peer: NodeId) => boolean
  readonly onPacket: (peer: NodeId, packet: Uint8Array) => void
  readonly onAsked: (peer: NodeId) => void
  /** Which peers are reached has changed. */
  readonly onChange: () => void
  /** The relay does not take the grant. */
  readonly onGrantRefused: () => void
}

export class RelayLink {
  readonly #options: Options
  readonly #wanted = new Set<NodeId>()
  readonly #indexes = new Map<NodeId, number>()
  readonly #peers = new Map<number, NodeId>()
  /** Asked to be opened on this socket. */
  readonly #asked = new Set<NodeId>()
  #socket: WebSocket | undefined
  #outgoing: Outgoing | undefined
  #heartbeat: Heartbeat | undefined
  #isDialling = false
  #isUp = false
  #upAt = 0
  #failures = 0
  #retry: Timer | undefined
  #reopen: Timer | undefined
  #stopped = false
  #dropped = 0
  #acknowledging: NodeJS.Immediate | undefined

  constructor(options: Options) {
    this.#options = options
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Packets that did not go out because the connection was too slow for them. */
  get dropped(): number {
    return this.#dropped + (this.#outgoing?.dropped ?? 0)
  }

  reaches(peer: NodeId): boolean {
    return this.#indexes.has(peer)
  }

  want(peer: NodeId): void {
    if (this.#wanted.has(peer)) return
    this.#wanted.add(peer)
    this.advance()
  }

  unwant(peer: NodeId): void {
    if (!this.#wanted.delete(peer)) return
    this.#forget(peer)
    if (this.#asked.delete(peer)) this.#say({ type: 'close', peer })
    if (this.#wanted.size === 0) this.#socket?.close(1000)
  }

  /** Takes the next step, if there is one: there may be a grant now, or another peer. */
  advance(): void {
    if (this.#stopped || this.#wanted.size === 0) return
    if (this.#isUp) this.#openWanted()
    else if (this.#socket === undefined && !this.#isDialling && this.#retry === undefined) void this.#dial()
  }

  /** Whoever runs the relay was just heard: what is waiting need not wait longer. */
  hurry(): void {
    if (this.#retry === undefined) return
    this.#retry.cancel()
    this.#failures = 0
    this.#retry = this.#options.clock.after(RECONNECT_MIN_MS * (1 + this.#options.clock.random()), () => {
      this.#retry = undefined
      this.advance()
    })
  }

  /** The grant that the relay shall go by from now on. */
  renew(grant: string): void {
    if (this.#isUp) this.#say({ type: 'grant', grant })
    else this.advance()
  }

  /** False if the packet is lost. */
  send(peer: NodeId, packet: Uint8Array): boolean {
    const index = this.#indexes.get(peer)
    if (index === undefined || this.#outgoing === undefined) return false
    this.#outgoing.add(index, packet)
    return true
  }

  stop(): void {
    this.#stopped = true
    this.#retry?.cancel()
    this.#socket?.terminate()
    this.#lost()
  }

  async #dial(): Promise<void> {
    const { dial, isGranted } = this.#options
    if (![...this.#wanted].some(isGranted)) return
    this.#isDialling = true
    try {
      const socket = await dial()
      this.#isDialling = false
      if (this.#stopped) socket.on('error', () => {}).terminate()
      else this.#follow(socket)
    } catch {
      this.#isDialling = false
      this.#failed()
    }
  }

  #follow(socket: WebSocket): void {
    const { log, name } = this.#options
    this.#socket = socket
    socket.on('open', () => this.#opened(socket))
    socket.on('message', (data, isBinary) => {
      if (isBinary) this.#takePackets(data as Buffer)
      else this.#takeReply(String(data))
    })
    socket.on('unexpected-response', (_, response) => void this.#refused(socket, response))
    socket.on('error', (error) =>
      log.debug('the relay cannot be reached', { relay: name, problem: error.message }),
    )
    socket.once('close', (code) => {
      if (this.#isUp) log.info('the connection to the relay is closed', { relay: name, code })
      if (this.#socket !== socket) return
      this.#lost()
      this.#failed()
    })
  }

  #opened(socket: WebSocket): void {
    const { clock, log, name } = this.#options
    this.#isUp = true
    this.#upAt = clock.elapsed()
    this.#outgoing = new Outgoing({
      get bufferedAmount() {
        return socket.bufferedAmount
      },
      send: (message) => socket.send(message, () => {}),
    })
    this.#heartbeat = new Heartbeat(
      clock,
      HEARTBEAT_INTERVAL_MS,
      () => socket.send(PING, () => {}),
      () => socket.terminate(),
    )
    log.info('connected to the relay', { relay: name })
    this.#openWanted()
  }

  #openWanted(): void {
    const { isGranted } = this.#options
    for (const peer of this.#wanted) {
      if (this.#asked.has(peer) || !isGranted(peer)) continue
      this.#asked.add(peer)
      this.#say({ type: 'open', peer })
    }
  }

  #takePackets(data: Buffer): void {
    for (const { index, bytes } of decodePackets(data) ?? []) {
      const peer = this.#peers.get(index)
      if (peer !== undefined) this.#options.onPacket(peer, bytes)
    }
    this.#acknowledge()
  }

  /**
   * A pong that nobody asked for (RFC 6455, section 5.5.3), which wakes nothing at the relay. With it goes TCP's acknowledgement, which would otherwise
   * wait up to 40 ms for something to go with, and workerd's socket sends nothing small before it has come (Nagle's algorithm).
   */
  #acknowledge(): void {
    this.#acknowledging ??= setImmediate(() => {
      this.#acknowledging = undefined
      if (this.#isUp) this.#socket?.pong(undefined, undefined, () => {})
    })
  }

  #takeReply(text: string): void {
    if (text === PONG) {
      this.#heartbeat?.pong()
      return
    }
    const reply = RelayReply.safeParse(parseJson(text))
    if (!reply.success) return
    const { data } = reply
    switch (data.type) {
      case 'mark':
        this.#say({ type: 'mark', mark: data.mark })
        break
      case 'opened':
        if (this.#wanted.has(data.peer)) this.#reached(data.peer, data.index)
        break
      case 'closed':
        this.#forget(data.peer)
        if (data.reason === 'refused') this.#askAgainLater(data.peer)
        break
      case 'asked':
        this.#options.onAsked(data.peer)
        break
      case 'granted':
        this.#openWanted()
        break
      case 'error':
        this.#options.log.debug('the relay objects', { relay: this.#options.name, code: data.code })
        if (isAboutGrant(data.code)) this.#options.onGrantRefused()
        break
      default:
        data satisfies never
    }
  }

  #reached(peer: NodeId, index: number): void {
    this.#forget(peer)
    const before = this.#peers.get(index)
    if (before !== undefined) this.#forget(before)
    this.#indexes.set(peer, index)
    this.#peers.set(index, peer)
    this.#options.onChange()
  }

  #forget(peer: NodeId): void {
    const index = this.#indexes.get(peer)
    if (index === undefined) return
    this.#indexes.delete(peer)
    this.#peers.delete(index)
    this.#options.onChange()
  }

  #askAgainLater(peer: NodeId): void {
    this.#asked.delete(peer)
    this.#reopen ??= this.#options.clock.after(REOPEN_MS, () => {
      this.#reopen = undefined
      if (this.#isUp) this.#openWanted()
    })
  }

  async #refused(socket: WebSocket, response: IncomingMessage): Promise<void> {
    const { log, name, onGrantRefused } = this.#options
    const problem = parseProblem(await readShort(response).catch(() => new Uint8Array()))
    log.debug('the relay refuses', {
      relay: name,
      status: response.statusCode ?? 0,
      code: problem?.code ?? '',
    })
    // The key that the grant names may have been replaced since.
    if (response.statusCode === 401) onGrantRefused()
    socket.terminate()
  }

  #lost(): void {
    this.#heartbeat?.stop()
    this.#reopen?.cancel()
    this.#reopen = undefined
    this.#dropped += this.#outgoing?.dropped ?? 0
    this.#outgoing?.stop()
    this.#outgoing = undefined
    this.#socket = undefined
    if (this.#isUp && this.#options.clock.elapsed() - this.#upAt >= STABLE_MS) this.#failures = 0
    this.#isUp = false
    this.#asked.clear()
    const wasReaching = this.#indexes.size > 0
    this.#indexes.clear()
    this.#peers.clear()
    if (wasReaching) this.#options.onChange()
  }

  #failed(): void {
    if (this.#stopped || this.#wanted.size === 0 || this.#retry !== undefined) return
    const { clock } = this.#options
    const ceiling = Math.min(RECONNECT_CAP_MS, RECONNECT_BASE_MS * 2 ** this.#failures)
    this.#failures++
    this.#retry = clock.after(RECONNECT_MIN_MS + clock.random() * ceiling, () => {
      this.#retry = undefined
      this.advance()
    })
  }

  #say(request: RelayRequest): void {
    this.#socket?.send(JSON.stringify(request), () => {})
  }
}

const isAboutGrant = (code: string): boolean => code === 'E_RELAY_GRANT' || code === 'E_RELAY_GRANT_EXPIRED'

async function readShort(response: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_REFUSAL_BYTES) break
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
