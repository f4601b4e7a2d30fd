/**
 * The mesh on this node: keeps the WireGuard interface in step with the map the gateway sends, and tells the peers where this node is.
 *
 * It needs the gateway for news only. Map and endpoints are cached, the interface outlives the agent, and a failed command is tried
 * again without anyone's help.
 */
import type { BlockList } from 'node:net'
import type { EndpointsSignal } from '../../crypto/signal.ts'
import { UserError } from '../../host/user-error.ts'
import { fleetIpv6Prefix, type Ipv4Range, nodeIpv6 } from '../../protocol/addresses.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { MeshChanges, MeshPeer, MeshPosition } from '../../protocol/mesh.ts'
import type { Timer } from '../clock.ts'
import { type Acceptance, acceptPeers } from './accepted-peers.ts'
import { Announcer } from './announcer.ts'
import { emptyCache, formatCache, type Known, parseCache } from './cache.ts'
import { DelayedSave } from './delayed-save.ts'
import { DevicePeers } from './device-peers.ts'
import type { MeshEngineOptions, MeshSettings, MeshStatus } from './engine-options.ts'
import { CommandError } from './exec.ts'
import { requireFleetRange } from './fleet-range.ts'
import { MeshInterface } from './interface.ts'
import { ranges } from './ip-ranges.ts'
import { type FoldResult, MeshMap } from './map.ts'
import { OwnLocation } from './paths/own-location.ts'
import { PathEngine } from './paths/path-engine.ts'
import { describeRefused } from './refused-peers.ts'
import { noRelay } from './relay-paths.ts'
import { SerialTask } from './serial-task.ts'
import { Signals } from './signals.ts'
import { WireGuardDevice } from './wg.ts'

/** How often to look at the interface while a candidate may answer any moment, and otherwise. */
const SEARCH_TICK_MS = 1_000
const IDLE_TICK_MS = 10_000

export class MeshEngine {
  readonly #options: MeshEngineOptions
  readonly #fleetRange: Ipv4Range
  readonly #fleetRanges: BlockList
  readonly #interface: MeshInterface
  readonly #devicePeers: DevicePeers
  readonly #signals: Signals
  readonly #announcer: Announcer
  readonly #paths: PathEngine
  readonly #location: OwnLocation
  readonly #apply: SerialTask
  readonly #save: DelayedSave
  #map = new MeshMap()
  #accepted: Acceptance = { peers: new Map(), refused: [] }
  /** Why some peers are not on the interface; undefined if all are. */
  #leftOut: string | undefined
  /** False after a failure: the interface may be gone, and is looked after before anything else. */
  #interfaceUp = false
  #reachable = 0
  #tick: Timer | undefined
  #started = false
  #stopped = false

  /** @throws UserError if the gateway's address range is not one to route to a mesh. */
  constructor(options: MeshEngineOptions) {
    const { fleet, self, clock, commands, backend, listenPort, log } = options
    this.#options = options
    this.#fleetRange = requireFleetRange(fleet.ipv4Range, self.ipv4)
    const ipv6Range = fleetIpv6Prefix(fleet.id)
    this.#fleetRanges = ranges(fleet.ipv4Range, ipv6Range)
    const device = new WireGuardDevice(commands, options.iface)
    this.#interface = new MeshInterface({
      commands,
      backend,
      device,
      keys: self.wireguard,
      listenPort,
      ipv4: self.ipv4,
      ipv6: nodeIpv6(fleet.id, self.id),
      ipv4Range: fleet.ipv4Range,
      ipv6Range,
    })
    this.#signals = new Signals({
      fleet: fleet.id,
      self: self.id,
      sealingKey: self.sealing.privateKey,
      clock,
    })
    this.#announcer = new Announcer(this.#signals, options.sendSignals, log)
    this.#save = new DelayedSave(clock, () => this.#saveCache())
    this.#paths = new PathEngine({
      fleet: { id: fleet.id, ranges: this.#fleetRanges },
      self: self.id,
      sealingKey: self.sealing.privateKey,
      relay: options.relay ?? noRelay,
      openPort: options.openPort,
      clock,
      log,
      apply: () => void this.#apply.request(),
      announce: (peer) => this.#announce(peer),
    })
    this.#paths.useStun({ own: options.stun ?? [] })
    this.#location = new OwnLocation({
      ...options,
      fleet: this.#fleetRanges,
      paths: this.#paths,
      onLook: () => this.#announce(),
    })
    this.#devicePeers = new DevicePeers({ fleet: fleet.id, device, paths: this.#paths, clock })
    this.#apply = new SerialTask(
      clock,
      () => this.#reconcile(),
      (problem) => log.warn('the mesh interface could not be brought up to date', { problem }),
    )
  }

  /** Where the map is; to be sent with `register` and `mesh_resync`. */
  get position(): MeshPosition | undefined {
    return this.#map.position
  }

  /** As last seen, at most some seconds ago. */
  get reachability(): { readonly peers: number; readonly reachable: number } {
    return { peers: this.#accepted.peers.size, reachable: this.#reachable }
  }

  /**
   * Brings the interface up as it was last known to be, without the gateway. Peers whose endpoints are known are called at once: they
   * would otherwise go on sending to a session that a reboot has ended, for some 15 s.
   * @throws UserError if there can be no interface here.
   */
  async start(): Promise<'created' | 'adopted'> {
    const { loadCache, log } = this.#options
    const text = loadCache()
    const cache = text === undefined ? emptyCache() : parseCache(text)
    if (cache === undefined) log.warn('the cached mesh map cannot be read; the gateway will send it anew')
    const { map, known } = cache ?? emptyCache()
    this.#map = map
    this.#accept(known)
    await this.#location.look()
    const origin = await this.#bringUp().catch((error) => {
      throw error instanceof CommandError ? notStarted(error) : error
    })
    this.#started = true
    await this.#paths.start()
    this.#announce()
    this.#location.watch(() => void this.#apply.request())
    await this.#apply.request()
    return origin
  }

  /** After `gap` the caller asks the gateway for a resync from `position`. */
  applyChanges(changes: MeshChanges): FoldResult {
    const { peers: mapBefore } = this.#map
    const { peers: before } = this.#accepted
    const result = this.#map.fold(changes)
    if (this.#map.peers === mapBefore) {
      // An empty change still moves the place in the log.
      if (result === 'applied' && changes.more === undefined) this.#save.soon()
      return result
    }
    this.#accept()
    this.#save.soon()
    void this.#apply.request()
    this.#announcer.announce(
      this.#peers().filter(({ id, seal }) => before.get(id)?.seal !== seal),
      { reply: true },
    )
    return result
  }

  /** Never throws: whoever can send a signal must not be able to stop the agent. */
  async onSignal(from: NodeId, sealed: string): Promise<void> {
    const sender = this.#accepted.peers.get(from)
    const signal = await this.#signals.open(sender, sealed, () => this.#paths.lastSignalAt(from))
    if (sender === undefined || signal === undefined || !this.#accepted.peers.has(from)) return
    switch (signal.kind) {
      case 'endpoints':
        return this.#onEndpoints(sender, signal)
    }
  }

  #onEndpoints(sender: MeshPeer, signal: EndpointsSignal): void {
    const { moved, worthTrying } = this.#paths.hear(sender.id, signal)
    if (moved) this.#save.soon()
    if (worthTrying) void this.#apply.request()
    if (signal.reply) this.#announcer.announce([sender], { reply: false })
  }

  /** The session is up: every peer is told where this node is, and asked the same. */
  onConnected({ stun }: MeshSettings): void {
    this.#paths.useStun({ gateway: stun })
    this.#announcer.connect()
    this.#announcer.announce(this.#peers(), { reply: true })
  }

  onDisconnected(): void {
    this.#announcer.disconnect()
  }

  async status(): Promise<MeshStatus> {
    const { iface, backend } = this.#options
    return {
      interface: iface,
      backend: backend.kind,
      position: this.position,
      peers: await this.#devicePeers.status(this.#peers()),
      names: this.#options.names?.status,
      ignoredSignals: this.#signals.ignored,
      lastError: this.#apply.lastError ?? this.#leftOut,
    }
  }

  /** With `keepInterface` traffic goes on, and the next agent takes over. */
  async stop({ keepInterface }: { readonly keepInterface: boolean }): Promise<void> {
    this.#stopped = true
    this.#announcer.disconnect()
    this.#tick?.cancel()
    this.#location.stop()
    await this.#paths.stop()
    await this.#apply.stop()
    this.#save.close()
    await this.#options.names?.stop()
    if (!keepInterface) await this.#interface.down()
  }

  #peers(): MeshPeer[] {
    return [...this.#accepted.peers.values()]
  }

  /** The map has changed. */
  #accept(known?: ReadonlyMap<NodeId, Known>): void {
    const { fleet, self } = this.#options
    this.#accepted = acceptPeers(this.#map.peers, { id: fleet.id, range: this.#fleetRange }, self)
    this.#paths.setPeers(this.#accepted.peers, known)
    this.#signals.forgetAllBut(this.#accepted.peers)
    this.#options.names?.follow(this.#peers())
  }

  async #bringUp(): Promise<'created' | 'adopted'> {
    const { iface, log, backend } = this.#options
    const origin = await this.#interface.up()
    this.#interfaceUp = true
    log.info('mesh interface up', { interface: iface, backend: backend.kind, origin })
    if (!this.#interface.hasIpv6) log.warn('this machine has no IPv6: the mesh here is IPv4 only')
    this.#options.names?.interfaceUp({ ipv6: this.#interface.hasIpv6 })
    return origin
  }

  async #reconcile(): Promise<void> {
    // What comes before the start is part of it.
    if (!this.#started) return
    if (!this.#interfaceUp) await this.#bringUp()
    this.#interfaceUp = false
    const { reachable, learned, refused } = await this.#devicePeers.follow(this.#peers())
    this.#interfaceUp = true
    this.#noteLeftOut(describeRefused([...this.#accepted.refused, ...refused]))
    this.#reachable = reachable
    if (learned) this.#save.soon()
    this.#scheduleTick()
  }

  #noteLeftOut(problem: string | undefined): void {
    if (problem !== undefined && problem !== this.#leftOut)
      this.#options.log.warn('peers are left out of the mesh', { problem })
    this.#leftOut = problem
  }

  #scheduleTick(): void {
    if (this.#stopped) return
    const { clock } = this.#options
    this.#tick?.cancel()
    const wait = this.#paths.isUnsettled() ? SEARCH_TICK_MS : IDLE_TICK_MS
    this.#tick = clock.after(wait, () => void this.#location.look().then(() => this.#apply.request()))
  }

  /** To this peer, or to all if there is anything new to tell. */
  #announce(peer?: NodeId): void {
    const isNew = this.#announcer.relocate(this.#paths.place)
    const one = peer === undefined ? undefined : this.#accepted.peers.get(peer)
    if (isNew) this.#announcer.announce(this.#peers(), { reply: false })
    else if (one !== undefined) this.#announcer.announce([one], { reply: false })
  }

  #saveCache(): void {
    try {
      this.#options.saveCache(formatCache({ map: this.#map, known: this.#paths.known }))
    } catch (error) {
      this.#options.log.warn('the mesh map could not be cached', { problem: String(error) })
    }
  }
}

const notStarted = (error: CommandError): UserError =>
  new UserError({
    code: 'E_MESH_START',
    message: 'the mesh interface cannot be set up',
    why: error.message,
    fix: 'run with --no-mesh to do without',
  })
