/** A relay on a machine of its own: TLS and sockets around relay/core.ts. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { randomId } from '../../crypto/bytes.ts'
import { CLOSE } from '../../protocol/frames.ts'
import { MAX_RELAY_MESSAGE_BYTES, MAX_RELAY_SOCKETS } from '../../protocol/limits.ts'
import { RELAY_SUBPROTOCOL } from '../../protocol/relay.ts'
import { err, ok } from '../../protocol/result.ts'
import type { Account } from '../../relay/accounts.ts'
import { RelayCore, type RelaySocket } from '../../relay/core.ts'
import { readGrant } from '../../relay/grant.ts'
import { type Admitted, admit, type RelayIdentity } from './admission.ts'
import { problemOf, refuseUpgrade } from './refuse.ts'
import { Replays } from './replays.ts'

/** Nodes say `ping` every 15 s: one that has said nothing for four of them is gone. */
const SILENT_MS = 60_000
const TICK_MS = 1_000
/** Beside the nodes' sockets, those that are not let in yet. */
const MAX_CONNECTIONS = MAX_RELAY_SOCKETS + 500
/** For a request that trickles in, and for a TLS handshake that does. */
const REQUEST_TIMEOUT_MS = 10_000

export interface TlsFiles {
  readonly key: string
  readonly cert: string
}

export interface RelayServerOptions extends RelayIdentity {
  readonly host: string
  readonly port: number
  readonly tls: TlsFiles
  readonly now?: () => number
}

export class RelayServer {
  readonly #options: RelayServerOptions
  readonly #now: () => number
  readonly #core: RelayCore
  readonly #replays: Replays
  readonly #server: Server
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    // Larger ones are not even gathered; what is between this and the relay's own bound is its violation to count.
    maxPayload: 2 * MAX_RELAY_MESSAGE_BYTES,
    perMessageDeflate: false,
    handleProtocols: () => RELAY_SUBPROTOCOL,
  })
  readonly #heardAt = new Map<WebSocket, number>()
  readonly #timer: NodeJS.Timeout

  private constructor(options: RelayServerOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#replays = new Replays(this.#now())
    this.#core = new RelayCore({
      now: this.#now,
      newMark: randomId,
      verifyGrant: async (grant, node) => {
        const read = await readGrant(grant, node, { ...options, now: this.#now() })
        return read.ok ? ok(read.value.allowance) : err(read.error)
      },
    })
    this.#server = createServer({
      ...options.tls,
      minVersion: 'TLSv1.2',
      handshakeTimeout: REQUEST_TIMEOUT_MS,
    })
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#server.headersTimeout = REQUEST_TIMEOUT_MS
    this.#server.requestTimeout = REQUEST_TIMEOUT_MS
    this.#server.on('upgrade', (request, socket, head) => {
      socket.on('error', () => socket.destroy())
      void this.#upgrade(request, socket, head)
    })
    this.#server.on('request', (request, response) => {
      request.resume()
      const healthy = request.method === 'GET' && request.url === '/healthz'
      const problem = problemOf({ code: 'E_UPGRADE_REQUIRED' }, this.#now())
      response.writeHead(healthy ? 200 : problem.status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(healthy ? { status: 'ok' } : problem))
    })
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
  }

  static async start(options: RelayServerOptions): Promise<RelayServer> {
    const relay = new RelayServer(options)
    relay.#server.listen(options.port, options.host)
    try {
      await once(relay.#server, 'listening')
    } catch (error) {
      clearInterval(relay.#timer)
      throw error
    }
    return relay
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get nodes(): number {
    return this.#core.size
  }

  get account(): Account {
    return this.#core.accounts.total
  }

  /** For connections from now on. @throws if they are not a certificate and its key. */
  setTls(tls: TlsFiles): void {
    this.#server.setSecureContext({ ...tls, minVersion: 'TLSv1.2' })
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    for (const socket of this.#heardAt.keys()) socket.close(CLOSE.goingAway)
    const closed = once(this.#server, 'close')
    this.#server.close()
    // Whoever does not answer the goodbye does not hold up the end.
    setTimeout(() => this.#server.closeAllConnections(), TICK_MS).unref()
    setTimeout(() => {
      for (const socket of this.#heardAt.keys()) socket.terminate()
    }, TICK_MS).unref()
    await closed
  }

  async #upgrade(request: Parameters<typeof admit>[0], socket: Duplex, head: Buffer): Promise<void> {
    try {
      const admitted = await admit(request, this.#options, this.#replays, this.#now())
      if (!admitted.ok) refuseUpgrade(socket, admitted.error, this.#now())
      else if (!socket.destroyed)
        this.#webSockets.handleUpgrade(request as never, socket, head, (upgraded) =>
          this.#enter(upgraded, admitted.value),
        )
    } catch {
      // What a stranger sends must not end the relay of everybody else.
      refuseUpgrade(socket, { code: 'E_INTERNAL' }, this.#now())
    }
  }

  #enter(socket: WebSocket, { node, allowance }: Admitted): void {
    const end: RelaySocket = {
      send: (message) => socket.send(message, () => {}),
      close: (code, reason) => socket.close(code, reason),
      keep: () => {},
    }
    socket.on('error', () => socket.terminate())
    const joined = this.#core.join(end, node, allowance)
    if (!joined.ok) {
      socket.close(CLOSE.goingAway, joined.error)
      return
    }
    this.#heardAt.set(socket, this.#now())
    socket.on('message', (data, isBinary) => {
      this.#heardAt.set(socket, this.#now())
      void this.#core.receive(end, isBinary ? bytesOf(data) : String(data))
    })
    socket.on('close', () => {
      this.#heardAt.delete(socket)
      this.#core.leave(end)
    })
  }

  #tick(): void {
    this.#core.tick()
    const now = this.#now()
    for (const [socket, heardAt] of this.#heardAt) if (now - heardAt > SILENT_MS) socket.terminate()
  }
}

const bytesOf = (data: unknown): Uint8Array => (data instanceof Uint8Array ? data : new Uint8Array())
