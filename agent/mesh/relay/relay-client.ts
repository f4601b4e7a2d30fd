/**
 * This node's part of the relay: which peers are reached through it, over which connections, and what WireGuard sends and gets by it. A peer is
 * wanted when somebody asks for its endpoint or it asks for us, and forgotten when that was long ago and nothing flows.
 */
import type { WebSocket } from 'ws'
import type { RelayGrantReply } from '../../../protocol/http.ts'
import type { Endpoint, NodeId } from '../../../protocol/ids.ts'
import { MAX_RELAY_PEERS, RELAY_SHARDS } from '../../../protocol/limits.ts'
import { pairShard } from '../../../protocol/relay.ts'
import type { Clock, Timer } from '../../clock.ts'
import type { Log } from '../../log.ts'
import type { RelayPaths } from '../relay-paths.ts'
import { GrantKeeper } from './grant-keeper.ts'
import { RelayLink } from './link.ts'
import type { Loopback } from './loopback.ts'

/** How long a peer is wanted after it was last asked for or heard of. */
const WANTED_MS = 3 * 60_000
const SWEEP_MS = 30_000

export interface RelayClientOptions {
  readonly self: NodeId
  readonly clock: Clock
  /** The gateway's time. */
  readonly now: () => number
  readonly log: Log
  /** Origin (`wss`) by which this node knows its gateway: there the relay has parts. */
  readonly ownGateway: string
  readonly openLoopback: (onPacket: (peer: NodeId, packet: Uint8Array) => void) => Promise<Loopback>
  readonly requestGrant: (relay: string, peers: readonly NodeId[]) => Promise<RelayGrantReply>
  /** Opens a socket to that relay. */
  readonly dial: (relay: string, shard: number, grant: string) => Promise<WebSocket>
}

interface Relay {
  readonly grants: GrantKeeper
  readonly links: Map<number, RelayLink>
}

interface WantedPeer {
  lastUsed: number
  endpoint: Endpoint | undefined
}

export class RelayClient implements RelayPaths {
  readonly #options: RelayClientOptions
  readonly #listeners: (() => void)[] = []
  /** In the order in which they are preferred. */
  readonly #relays = new Map<string, Relay>()
  readonly #wanted = new Map<NodeId, WantedPeer>()
  #loopback: Promise<Loopback> | undefined
  #opened: Loopback | undefined
  #sweep: Timer | undefined
  #stopped = false

  constructor(options: RelayClientOptions) {
    this.#options = options
  }

  /** The relays there are, by what the gateway says; none takes everything away. */
  use(origins: readonly string[]): void {
    for (const [origin, relay] of this.#relays) if (!origins.includes(origin)) this.#drop(origin, relay)
    const before = new Map(this.#relays)
    this.#relays.clear()
    for (const origin of origins) this.#relays.set(origin, before.get(origin) ?? this.#addRelay(origin))
    for (const peer of this.#wanted.keys()) this.#connect(peer)
    for (const link of this.#relays.get(this.#options.ownGateway)?.links.values() ?? []) link.hurry()
    this.#shareWanted()
    this.#changed()
  }

  endpoint(peer: NodeId): Endpoint | undefined {
    const wanted = this.#want(peer)
    return wanted !== undefined && this.#linkTo(peer) !== undefined ? wanted.endpoint : undefined
  }

  async disguise(peer: NodeId, as: Endpoint | undefined): Promise<void> {
    await this.#opened?.disguise(peer, as)
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** For whoever asks how the node is. */
  get status(): { readonly relay: string; readonly connected: boolean }[] {
    return [...this.#relays].map(([relay, { links }]) => ({
      relay,
      connected: [...links.values()].some(({ isUp }) => isUp),
    }))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#sweep?.cancel()
    for (const [origin, relay] of this.#relays) this.#drop(origin, relay)
    this.#relays.clear()
    await (await this.#loopback?.catch(() => undefined))?.close()
  }

  #want(peer: NodeId): WantedPeer | undefined {
    const { clock } = this.#options
    const existing = this.#wanted.get(peer)
    if (existing !== undefined) {
      existing.lastUsed = clock.elapsed()
      return existing
    }
    if (this.#stopped || this.#relays.size === 0 || this.#wanted.size >= MAX_RELAY_PEERS) return undefined
    const wanted = { lastUsed: clock.elapsed(), endpoint: undefined }
    this.#wanted.set(peer, wanted)
    void this.#attach(peer, wanted)
    this.#connect(peer)
    this.#shareWanted()
    this.#sweep ??= clock.after(SWEEP_MS, () => this.#forgetUnused())
    return wanted
  }

  async #attach(peer: NodeId, wanted: WantedPeer): Promise<void> {
    const { log, openLoopback } = this.#options
    try {
      this.#loopback ??= openLoopback((from, packet) => this.#toRelay(from, packet))
      this.#opened = await this.#loopback
      wanted.endpoint = await this.#opened.attach(peer)
      this.#changed()
    } catch (error) {
      this.#loopback = undefined
      log.warn('peers cannot be reached by the relay', { problem: String(error) })
    }
  }

  /** What WireGuard sends. */
  #toRelay(peer: NodeId, packet: Uint8Array): void {
    const wanted = this.#wanted.get(peer)
    if (wanted === undefined) return
    wanted.lastUsed = this.#options.clock.elapsed()
    this.#linkTo(peer)?.send(peer, packet)
  }

  #fromRelay(peer: NodeId, packet: Uint8Array): void {
    const wanted = this.#wanted.get(peer)
    if (wanted === undefined) return
    wanted.lastUsed = this.#options.clock.elapsed()
    this.#opened?.inject(peer, packet)
  }

  /** Both ends take the first relay of the list that reaches the other, and whatever comes by any. */
  #linkTo(peer: NodeId): RelayLink | undefined {
    for (const [origin, { links }] of this.#relays) {
      const link = links.get(this.#shardOf(origin, peer))
      if (link?.reaches(peer) === true) return link
    }
    return undefined
  }

  #connect(peer: NodeId): void {
    for (const [origin, relay] of this.#relays) {
      const shard = this.#shardOf(origin, peer)
      const link = relay.links.get(shard) ?? this.#addLink(origin, relay, shard)
      link.want(peer)
    }
  }

  #shareWanted(): void {
    for (const { grants } of this.#relays.values()) grants.want(new Set(this.#wanted.keys()))
  }

  #addRelay(origin: string): Relay {
    const { clock, now, log, requestGrant } = this.#options
    const links = new Map<number, RelayLink>()
    const grants = new GrantKeeper({
      clock,
      now,
      log,
      request: (peers) => requestGrant(origin, peers),
      onGrant: () => {
        for (const link of links.values()) link.renew(grants.text ?? '')
      },
    })
    return { grants, links }
  }

  #addLink(origin: string, { grants, links }: Relay, shard: number): RelayLink {
    const { clock, log, dial } = this.#options
    const link = new RelayLink({
      name: origin,
      clock,
      log,
      dial: () => dial(origin, shard, grants.text ?? ''),
      isGranted: (peer) => grants.covers(peer),
      onPacket: (peer, packet) => this.#fromRelay(peer, packet),
      onAsked: (peer) => void this.#want(peer),
      onChange: () => this.#changed(),
      onGrantRefused: () => grants.refused(),
    })
    links.set(shard, link)
    return link
  }

  #drop(origin: string, { grants, links }: Relay): void {
    this.#relays.delete(origin)
    grants.stop()
    for (const link of links.values()) link.stop()
  }

  #shardOf(origin: string, peer: NodeId): number {
    const { self, ownGateway } = this.#options
    return origin === ownGateway ? pairShard(self, peer, RELAY_SHARDS) : 0
  }

  #forgetUnused(): void {
    const { clock } = this.#options
    for (const [peer, { lastUsed }] of this.#wanted) {
      if (clock.elapsed() - lastUsed < WANTED_MS) continue
      this.#wanted.delete(peer)
      for (const { links } of this.#relays.values()) for (const link of links.values()) link.unwant(peer)
      void this.#opened?.detach(peer).catch(() => {})
    }
    this.#shareWanted()
    this.#sweep = this.#wanted.size > 0 ? clock.after(SWEEP_MS, () => this.#forgetUnused()) : undefined
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }
}
