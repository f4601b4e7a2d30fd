/** The agent's sockets behind WireGuard's port: one for each address family, never connected, because a connected one bypasses the rules. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { utf8 } from '../../../crypto/bytes.ts'
import type { Endpoint, Ipv4 } from '../../../protocol/ids.ts'
import { formatEndpoint, splitEndpoint } from '../endpoint-form.ts'
import { CommandError, type Commands } from '../exec.ts'
import { type Family, familyOf } from '../ip-ranges.ts'
import { noPortTable, portTable, portTableName } from './port-table.ts'

/** Nobody is expected to listen there (RFC 863). */
const DISCARD_PORT = 9

export interface ProbePort {
  readonly families: ReadonlySet<Family>
  /** Leaves from WireGuard's port. What cannot be sent is lost, as on the network. */
  send(packet: Uint8Array, to: Endpoint): void
  /** Sends one byte through the tunnel, so that the peer hears of this node where it is now. */
  poke(peer: Ipv4): void
  onPacket(listener: (packet: Uint8Array, from: Endpoint) => void): void
  /** Puts the rules back if somebody has taken them away. @returns whether that was so. @throws CommandError */
  reassert(): Promise<boolean>
  close(): Promise<void>
}

interface Options {
  readonly commands: Commands
  readonly iface: string
  readonly listenPort: number
}

export class SharedPort implements ProbePort {
  readonly #options: Options
  readonly #sockets: ReadonlyMap<Family, Socket>
  readonly #pokes = createSocket('udp4')
  #closed = false

  private constructor(options: Options, sockets: ReadonlyMap<Family, Socket>) {
    this.#options = options
    this.#sockets = sockets
    this.#pokes.on('error', () => {})
  }

  /** @throws CommandError if nftables are not to be had. */
  static async open(options: Options): Promise<SharedPort> {
    const sockets = new Map<Family, Socket>()
    for (const family of ['ipv4', 'ipv6'] as const) {
      const socket = await bind(family)
      if (socket !== undefined) sockets.set(family, socket)
    }
    const port = new SharedPort(options, sockets)
    try {
      await port.#assert()
    } catch (error) {
      port.#closeSockets()
      throw error
    }
    return port
  }

  get families(): ReadonlySet<Family> {
    return new Set(this.#sockets.keys())
  }

  send(packet: Uint8Array, to: Endpoint): void {
    const { address, port } = splitEndpoint(to)
    // Errors are the network's: no route, no such family, a full queue.
    this.#sockets.get(familyOf(address))?.send(packet, port, address, () => {})
  }

  poke(peer: Ipv4): void {
    if (!this.#closed) this.#pokes.send(Uint8Array.of(0), DISCARD_PORT, peer, () => {})
  }

  onPacket(listener: (packet: Uint8Array, from: Endpoint) => void): void {
    for (const socket of this.#sockets.values()) {
      socket.on('message', (packet, { address, port }) => {
        // A link-local address means nothing without its link, and port 0 nothing at all.
        if (port > 0 && !address.includes('%')) listener(packet, formatEndpoint(address, port))
      })
    }
  }

  async reassert(): Promise<boolean> {
    const { commands, iface } = this.#options
    try {
      await commands.run('nft', ['list', 'table', 'inet', portTableName(iface)])
      return false
    } catch (error) {
      if (!(error instanceof CommandError) || this.#closed) throw error
      await this.#assert()
      return true
    }
  }

  async close(): Promise<void> {
    this.#closeSockets()
    const { commands, iface } = this.#options
    await commands.run('nft', ['-f', '-'], utf8(noPortTable(iface)))
  }

  async #assert(): Promise<void> {
    const { commands, iface, listenPort } = this.#options
    const ports = new Map([...this.#sockets].map(([family, socket]) => [family, socket.address().port]))
    await commands.run('nft', ['-f', '-'], utf8(portTable(iface, listenPort, ports)))
  }

  #closeSockets(): void {
    this.#closed = true
    for (const socket of this.#sockets.values()) socket.close()
    this.#pokes.close()
  }
}

/** Undefined on a machine without this family. */
async function bind(family: Family): Promise<Socket | undefined> {
  const socket = createSocket(family === 'ipv4' ? { type: 'udp4' } : { type: 'udp6', ipv6Only: true })
  try {
    const bound = once(socket, 'listening')
    socket.bind(0)
    await bound
    // A send that the network refuses is told to its callback; what is left for this event needs no answer.
    socket.on('error', () => {})
    return socket
  } catch {
    socket.close()
    return undefined
  }
}
