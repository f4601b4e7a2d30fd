/** The sockets of the DNS server: UDP and TCP on each address. What is said on them is the caller's (answer.ts). */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import { TcpListener } from './tcp-listener.ts'

/** Answers that wait because the kernel takes no more; past that they are dropped, as a network would. */
const MAX_QUEUED_BYTES = 256 * 1024

export interface DnsServerOptions {
  readonly addresses: readonly string[]
  readonly port: number
  /** Whether a packet from there is looked at. */
  readonly admits: (address: string) => boolean
  /** Undefined for what gets no answer. Must not throw. */
  readonly answer: (packet: Uint8Array, transport: 'udp' | 'tcp') => Uint8Array | undefined
  /** A socket has failed, and all are closed. */
  readonly onFailure: (problem: string) => void
}

export class DnsServer {
  readonly #options: DnsServerOptions
  readonly #udp: UdpSocket[] = []
  readonly #tcp: TcpListener[] = []
  #closed = false

  private constructor(options: DnsServerOptions) {
    this.#options = options
  }

  /** @throws Error with the system's code if one of the sockets cannot be had; none is open then. */
  static async listen(options: DnsServerOptions): Promise<DnsServer> {
    const server = new DnsServer(options)
    try {
      for (const address of options.addresses) {
        await server.#openUdp(address)
        await server.#openTcp(address)
      }
      return server
    } catch (error) {
      await server.close()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([
      ...this.#tcp.splice(0).map((listener) => listener.close()),
      ...this.#udp.splice(0).map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
    ])
  }

  async #openUdp(address: string): Promise<void> {
    const socket = createSocket(isIPv6(address) ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' })
    const listening = once(socket, 'listening')
    socket.bind({ address, port: this.#options.port, exclusive: true })
    try {
      await listening
    } catch (error) {
      socket.close()
      throw error
    }
    this.#udp.push(socket)
    socket.on('message', (packet, from) => this.#onDatagram(socket, packet, from))
    socket.on('error', (error) => this.#fail(error))
  }

  async #openTcp(address: string): Promise<void> {
    const { port, admits, answer } = this.#options
    const listener = await TcpListener.listen({
      address,
      port,
      admits,
      answer: (packet) => answer(packet, 'tcp'),
      onFailure: (error) => this.#fail(error),
    })
    this.#tcp.push(listener)
  }

  #onDatagram(socket: UdpSocket, packet: Uint8Array, { address, port }: RemoteInfo): void {
    if (!this.#options.admits(address) || socket.getSendQueueSize() > MAX_QUEUED_BYTES) return
    const response = this.#options.answer(packet, 'udp')
    // Whoever cannot be reached asks again or does not.
    if (response !== undefined && port !== 0) socket.send(response, port, address, () => {})
  }

  #fail(error: Error): void {
    if (this.#closed) return
    void this.close()
    this.#options.onFailure(error.message)
  }
}
