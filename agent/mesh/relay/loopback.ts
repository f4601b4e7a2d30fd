/** Between WireGuard and the relay on this machine: packets go in and out over loopback, because WireGuard knows nothing but UDP. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import { utf8 } from '../../../crypto/bytes.ts'
import { Endpoint, type NodeId } from '../../../protocol/ids.ts'
import type { Commands } from '../exec.ts'
import { type Disguise, removeRules, renderRules, splitEndpoint } from './loopback-rules.ts'
import { PeerPorts } from './peer-ports.ts'

export interface Loopback {
  /** Whether it can make relayed packets look as if they came from elsewhere. */
  readonly kind: 'shared' | 'sockets'
  /** The peer's endpoint from now on; undefined if there is no room for it. */
  attach(peer: NodeId): Promise<Endpoint | undefined>
  detach(peer: NodeId): Promise<void>
  /** Hands a relayed packet to WireGuard. */
  inject(peer: NodeId, packet: Uint8Array): void
  disguise(peer: NodeId, as: Endpoint | undefined): Promise<void>
  close(): Promise<void>
}

export interface LoopbackOptions {
  readonly commands: Commands
  readonly iface: string
  /** WireGuard's. */
  readonly listenPort: number
  /** Called with each packet that WireGuard sends to a peer by the relay. */
  readonly onPacket: (peer: NodeId, packet: Uint8Array) => void
}

const LOOPBACK4 = '127.0.0.1'
const LOOPBACK6 = '::1'
/** A packet of 1.4 KB in each 100 µs fills the system's usual 208 KB in 15 ms, which is no long time for an event loop. */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024
/** Without nftables each peer takes a socket, whose descriptor and buffer are the machine's. */
const MAX_PEER_SOCKETS = 64

/** One socket for all peers by nftables; where that is not to be had, a socket for each. */
export async function openLoopback(options: LoopbackOptions): Promise<Loopback> {
  try {
    return await SharedLoopback.open(options)
  } catch {
    return new PeerSockets(options)
  }
}

class SharedLoopback implements Loopback {
  readonly kind = 'shared'
  readonly #options: LoopbackOptions
  readonly #table: string
  readonly #socket4: Socket
  readonly #socket6: Socket | undefined
  readonly #ports: PeerPorts
  /** Null where there is no way to make one: what still comes is dropped, for undisguised it would undo the switch. */
  readonly #disguises = new Map<NodeId, Disguise | null>()
  /** Those for which there is a rule: without it what is sent to `local` gets nowhere. */
  #inForce: ReadonlyMap<NodeId, Disguise | null> = new Map()
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  private constructor(options: LoopbackOptions, socket4: Socket, socket6: Socket | undefined) {
    this.#options = options
    this.#socket4 = socket4
    this.#socket6 = socket6
    this.#table = relayTable(options.iface)
    this.#ports = new PeerPorts(new Set([options.listenPort, socket4.address().port]))
    socket4.on('message', (packet, from) => this.#receive(packet, from))
  }

  /** @throws if there is no nftables here, or it does not take the rules. */
  static async open(options: LoopbackOptions): Promise<SharedLoopback> {
    const socket4 = await bind('udp4', LOOPBACK4)
    const socket6 = await bind('udp6', LOOPBACK6).catch(() => undefined)
    const loopback = new SharedLoopback(options, socket4, socket6)
    try {
      await loopback.#apply()
      return loopback
    } catch (error) {
      socket4.close()
      socket6?.close()
      throw error
    }
  }

  async attach(peer: NodeId): Promise<Endpoint> {
    return Endpoint.parse(`${LOOPBACK4}:${this.#ports.take(peer)}`)
  }

  async detach(peer: NodeId): Promise<void> {
    // Before anything is awaited: the peer may be attached again meanwhile.
    this.#ports.release(peer)
    if (this.#disguises.delete(peer)) await this.#apply()
  }

  inject(peer: NodeId, packet: Uint8Array): void {
    const port = this.#ports.of(peer)
    if (port === undefined) return
    const disguise = this.#disguises.has(peer) ? this.#inForce.get(peer) : undefined
    if (disguise === undefined) this.#socket4.send(packet, port, LOOPBACK4, ignore)
    else if (disguise !== null) {
      const socket = isIPv6(disguise.local) ? this.#socket6 : this.#socket4
      socket?.send(packet, port, disguise.local, ignore)
    }
  }

  async disguise(peer: NodeId, as: Endpoint | undefined): Promise<void> {
    if (as === undefined) {
      if (!this.#disguises.delete(peer)) return
    } else {
      const local = await sourceTowards(as)
      this.#disguises.set(peer, local === undefined ? null : { as, local })
    }
    await this.#apply()
  }

  async close(): Promise<void> {
    await this.#running.catch(ignore)
    this.#socket4.close()
    this.#socket6?.close()
    await this.#options.commands.run('nft', ['-f', '/dev/stdin'], utf8(removeRules(this.#table)))
  }

  #receive(packet: Uint8Array, { port }: RemoteInfo): void {
    const peer = this.#ports.peerAt(port)
    if (peer !== undefined) this.#options.onPacket(peer, packet)
  }

  /** What is asked for while the rules are being replaced goes into the next replacement, together. */
  #apply(): Promise<void> {
    this.#next ??= this.#running.catch(ignore).then(() => {
      this.#next = undefined
      this.#running = this.#replace()
      return this.#running
    })
    return this.#next
  }

  async #replace(): Promise<void> {
    const { commands, listenPort } = this.#options
    const wanted = new Map(this.#disguises)
    const disguises = new Map(
      [...wanted].flatMap(([peer, disguise]) => {
        const port = this.#ports.of(peer)
        return port === undefined || disguise === null ? [] : [[port, disguise] as const]
      }),
    )
    const rules = renderRules({
      table: this.#table,
      wireguardPort: listenPort,
      socket4: this.#socket4.address().port,
      socket6: this.#socket6?.address().port,
      disguises,
    })
    await commands.run('nft', ['-f', '/dev/stdin'], utf8(rules))
    this.#inForce = wanted
  }
}

class PeerSockets implements Loopback {
  readonly kind = 'sockets'
  readonly #options: LoopbackOptions
  readonly #sockets = new Map<NodeId, Socket>()
  /** They would have to be disguised, and cannot be: they are lost, until WireGuard has settled elsewhere. */
  readonly #muted = new Set<NodeId>()

  constructor(options: LoopbackOptions) {
    this.#options = options
  }

  async attach(peer: NodeId): Promise<Endpoint | undefined> {
    const existing = this.#sockets.get(peer)
    if (existing !== undefined) return endpointOf(existing)
    if (this.#sockets.size >= MAX_PEER_SOCKETS) return undefined
    const socket = await bind('udp4', LOOPBACK4)
    this.#sockets.set(peer, socket)
    const { listenPort, onPacket } = this.#options
    socket.on('message', (packet, { port, address }) => {
      if (port === listenPort && address === LOOPBACK4) onPacket(peer, packet)
    })
    return endpointOf(socket)
  }

  async detach(peer: NodeId): Promise<void> {
    this.#sockets.get(peer)?.close()
    this.#sockets.delete(peer)
    this.#muted.delete(peer)
  }

  inject(peer: NodeId, packet: Uint8Array): void {
    if (!this.#muted.has(peer))
      this.#sockets.get(peer)?.send(packet, this.#options.listenPort, LOOPBACK4, ignore)
  }

  async disguise(peer: NodeId, as: Endpoint | undefined): Promise<void> {
    if (as === undefined) this.#muted.delete(peer)
    else this.#muted.add(peer)
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.values()) socket.close()
    this.#sockets.clear()
  }
}

/** What an agent that was killed has left. Without nftables there is nothing. */
export async function removeLeftRules(commands: Commands, iface: string): Promise<void> {
  await commands.run('nft', ['-f', '/dev/stdin'], utf8(removeRules(relayTable(iface)))).catch(ignore)
}

/** Two agents of one machine have two interfaces, and so two tables. */
const relayTable = (iface: string): string => `clawnode_relay_${iface.replace(/[^A-Za-z0-9_]/g, '_')}`

/** The address from which this machine would send there. Nothing is sent. */
async function sourceTowards(endpoint: Endpoint): Promise<string | undefined> {
  const { address, port } = splitEndpoint(endpoint)
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
  try {
    const connected = once(socket, 'connect')
    socket.connect(port, address)
    await connected
    return socket.address().address
  } catch {
    return undefined
  } finally {
    socket.close()
  }
}

async function bind(type: 'udp4' | 'udp6', address: string): Promise<Socket> {
  const socket = createSocket(type)
  const listening = once(socket, 'listening')
  socket.bind(0, address)
  await listening
  // A packet that cannot be sent is a lost packet.
  socket.on('error', ignore)
  try {
    socket.setRecvBufferSize(SOCKET_BUFFER_BYTES)
    socket.setSendBufferSize(SOCKET_BUFFER_BYTES)
  } catch {
    // The system's own bound counts.
  }
  return socket
}

const endpointOf = (socket: Socket): Endpoint => Endpoint.parse(`${LOOPBACK4}:${socket.address().port}`)
const ignore = (): void => {}
