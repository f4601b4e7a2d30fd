/** DNS over TCP (RFC 7766): each message after two bytes of length, any number on one connection. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'

/** No question of ours is longer: a name, and the options of EDNS. */
const MAX_QUERY_BYTES = 4_096
const LENGTH_BYTES = 2
/** Connections of one address of ours together. TCP is the exception, for answers that a datagram does not hold. */
const MAX_CONNECTIONS = 64
const IDLE_MS = 5_000
/** Answers that nobody takes: who asks and does not read is cut off. */
const MAX_UNREAD_BYTES = 64 * 1024

interface Options {
  readonly address: string
  readonly port: number
  readonly admits: (address: string) => boolean
  readonly answer: (packet: Uint8Array) => Uint8Array | undefined
  readonly onFailure: (error: Error) => void
}

export class TcpListener {
  readonly #options: Options
  readonly #server: Server
  /** In the order in which they came. */
  readonly #connections = new Set<Socket>()

  private constructor(options: Options) {
    this.#options = options
    this.#server = createServer((socket) => this.#accept(socket))
  }

  /** @throws Error with the system's code. */
  static async listen(options: Options): Promise<TcpListener> {
    const listener = new TcpListener(options)
    const listening = once(listener.#server, 'listening')
    const { address: host, port } = options
    listener.#server.listen({ host, port, exclusive: true, ipv6Only: true })
    await listening
    listener.#server.on('error', options.onFailure)
    return listener
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#connections) socket.destroy()
    await closed
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {})
    if (!this.#options.admits(socket.remoteAddress ?? '')) return void socket.destroy()
    // The oldest goes, not the newcomer: else a peer that holds them all shuts everybody else out.
    const [oldest] = this.#connections
    if (this.#connections.size >= MAX_CONNECTIONS) oldest?.destroy()
    this.#connections.add(socket)
    socket.once('close', () => this.#connections.delete(socket))
    socket.setTimeout(IDLE_MS, () => socket.destroy())
    let pending: Buffer = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      pending = this.#takeQueries(socket, Buffer.concat([pending, chunk]))
    })
  }

  /** @returns what is not yet a whole message. */
  #takeQueries(socket: Socket, bytes: Buffer): Buffer {
    let rest = bytes
    while (rest.length >= LENGTH_BYTES && !socket.destroyed) {
      const length = rest.readUInt16BE(0)
      if (length > MAX_QUERY_BYTES) socket.destroy()
      if (rest.length < LENGTH_BYTES + length) break
      this.#reply(socket, rest.subarray(LENGTH_BYTES, LENGTH_BYTES + length))
      rest = rest.subarray(LENGTH_BYTES + length)
    }
    return rest
  }

  #reply(socket: Socket, packet: Uint8Array): void {
    if (!this.#options.admits(socket.remoteAddress ?? '')) return void socket.destroy()
    const response = this.#options.answer(packet)
    // What gets no answer is no question either.
    if (response === undefined) return void socket.destroy()
    const length = Buffer.alloc(LENGTH_BYTES)
    length.writeUInt16BE(response.length)
    socket.write(Buffer.concat([length, response]))
    if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy()
  }
}
