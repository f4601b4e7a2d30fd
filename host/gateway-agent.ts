/**
 * Opens TLS connections to one gateway. A connection is handed to HTTP only once chain, name, dates and pin have all been checked, so that
 * a server that fails any of them has received no application byte (H1.6, M1.3).
 */
import { Agent } from 'node:https'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { connectionError, pinMismatch } from './connection-error.ts'
import type { GatewayUrl } from './gateway-url.ts'
import { matchesPin, type Pin, verifiedChain } from './pins.ts'

const HANDSHAKE_TIMEOUT_MS = 10_000

export interface GatewayTrust {
  /** PEM; replaces the system's trust store. */
  readonly ca?: string | undefined
  readonly pins?: readonly Pin[] | undefined
}

type Connected = (error: Error | null, socket: Duplex) => void

export class GatewayAgent extends Agent {
  readonly #url: GatewayUrl
  readonly #trust: GatewayTrust
  readonly #connecting = new Set<TLSSocket>()

  constructor(url: GatewayUrl, trust: GatewayTrust, options: { keepAlive: boolean }) {
    // A resumed TLS session skips the certificate checks, therefore none is kept.
    super({ keepAlive: options.keepAlive, maxCachedSessions: 0 })
    this.#url = url
    this.#trust = trust
  }

  /** The target is the gateway, whatever the request says. */
  override createConnection(_options: unknown, connected: Connected = () => {}): undefined {
    const socket = connect(this.#tlsOptions())
    this.#connecting.add(socket)
    socket.setNoDelay(true)
    socket.setTimeout(HANDSHAKE_TIMEOUT_MS, () => socket.destroy(timedOut()))

    const settle = (error?: Error) => {
      this.#connecting.delete(socket)
      socket.setTimeout(0)
      socket.removeAllListeners('timeout').removeListener('error', fail).removeListener('close', closed)
      // Failed sockets may report once more, and an error that nobody hears ends the process.
      if (error !== undefined) socket.on('error', () => {}).destroy()
      connected(
        error === undefined ? null : connectionError(this.#url, error, socket.authorizationError),
        socket,
      )
    }
    const fail = (error: Error) => settle(error)
    const closed = () => settle(new Error('the connection was closed'))
    socket.once('error', fail).once('close', closed)
    socket.once('secureConnect', () => settle(this.#pinError(socket)))
  }

  override destroy(): void {
    for (const socket of this.#connecting) socket.destroy()
    super.destroy()
  }

  #tlsOptions(): ConnectionOptions {
    const { host, port } = this.#url
    return {
      host,
      port,
      ...(isIP(host) === 0 && { servername: host }),
      ...(this.#trust.ca !== undefined && { ca: this.#trust.ca }),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      // Said here, because an environment variable can change the default.
      rejectUnauthorized: true,
    }
  }

  #pinError(socket: TLSSocket): Error | undefined {
    const pins = this.#trust.pins ?? []
    if (pins.length === 0 || matchesPin(verifiedChain(socket.getPeerCertificate(true)), pins))
      return undefined
    return pinMismatch(this.#url)
  }
}

const timedOut = () => Object.assign(new Error('the TLS handshake took too long'), { code: 'ETIMEDOUT' })
