/**
 * The mesh on this node: keeps the WireGuard interface in step with the map the gateway sends, and tells the peers where this node is.
 *
 * It needs the gateway for news only. Map and endpoints are cached, the interface outlives the agent, and a failed command is tried
 * again without anyone's help.
 */
import type { BlockList } from 'node:net'
import type { EndpointsSignal, Signal } from '../../crypto/signal.ts'
import { UserError } from '../../host/user-error.ts'
import { fleetIpv6Prefix, type Ipv4Range, nodeIpv6 } from '../../protocol/addresses.ts'
import type { MeshQuestion } from '../../protocol/frames.ts'
import type { Cidr, NodeId } from '../../protocol/ids.ts'
import type { MeshChanges, MeshPeer, MeshPosition } from '../../protocol/mesh.ts'
import type { MeshSummary } from '../../protocol/mesh-report.ts'
import type { Timer } from '../clock.ts'
import { type Acceptance, acceptPeers } from './accepted-peers.ts'
import { hasAgent, withAgents } from './agent-peer.ts'
import { Announcer } from './announcer.ts'
import { MeshAnswers } from './answers.ts'
import { emptyCache, formatCache, type Known, parseCache } from './cache.ts'
import { DelayedSave } from './delayed-save.ts'
import { DevicePeers } from './device-peers.ts'
import { openEndpoints } from './endpoints.ts'
import { Enforcement } from './enforcement.ts'
import type { MeshEngineOptions, MeshSettings, MeshStatus } from './engine-options.ts'
import { CommandError } from './exec.ts'
import { requireFleetRange } from './fleet-range.ts'
import { HeardSignals } from './heard-signals.ts'
import { MeshInterface } from './interface.ts'
import { ranges } from './ip-ranges.ts'
import { type HandoverEnd, KeyHandover } from './key-handover.ts'
import { KeySignals } from './key-signals.ts'
import { KeySuccession } from './key-succession.ts'
import { type FoldResult, MeshMap } from './map.ts'
import { type MapAck, MapAcks } from './map-acks.ts'
import { describeLease, LEASE_FIX } from './map-lease.ts'
import type { MtuProbe } from './mtu-probe.ts'
import { summarise } from './pair-report.ts'
import { PathMtu } from './path-mtu.ts'
import { OwnLocation } from './paths/own-location.ts'
import { PathEngine } from './paths/path-engine.ts'
import { PskAgreement } from './psk-agreement.ts'
import { describeRefused } from './refused-peers.ts'
import { noRelay } from './relay-paths.ts'
import { SerialTask } from './serial-task.ts'
import { Signals } from './signals.ts'
import { innerMtuTo } from './underlay-mtu.ts'
import { WireGuardDevice } from './wg.ts'

/** How often to look at the interface while a candidate may answer any moment, and otherwise. */
const SEARCH_TICK_MS = 1_000
const IDLE_TICK_MS = 10_000

export class MeshEngine {
  readonly #options: MeshEngineOptions
  readonly #fleetRange: Ipv4Range
  readonly #fleetRanges: BlockList
  readonly #interface: MeshInterface
  readonly #enforcement: Enforcement
  readonly #device: WireGuardDevice
  readonly #devicePeers: DevicePeers
  readonly #succession: KeySuccession
  readonly #handover: KeyHandover
  readonly #keySignals: KeySignals
  readonly #psk: PskAgreement
  readonly #heard = new HeardSignals()
  readonly #signals: Signals
  readonly #announcer: Announcer
  readonly #paths: PathEngine
  readonly #location: OwnLocation
  readonly #apply: SerialTask
  readonly #save: DelayedSave
  readonly #acks: MapAcks
  readonly #answers: MeshAnswers
  #map = new MeshMap()
  #approved: readonly Cidr[] = []
  #accepted: Acceptance = { peers: new Map(), refused: [] }
  /** Why some peers are not on the interface; undefined if all are. */
  #leftOut: string | undefined
  /** False after a failure: the interface may be gone, and is looked after before anything else. */
  #interfaceUp = false
  #reachable = 0
  #summary: MeshSummary = summarise([])
  #mtuProbe: MtuProbe | undefined
  #mtu: PathMtu | undefined
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
      get keys() {
        return self.wireguard
      },
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
    this.#enforcement = new Enforcement({ ...options, offered: options.routes ?? NO_OFFERS })
    const tunnelled = () => ranges(fleet.ipv4Range, ipv6Range, ...this.#enforcement.networks)
    this.#paths = new PathEngine({
      fleet: {
        id: fleet.id,
        get ranges() {
          return tunnelled()
        },
      },
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
    this.#acks = new MapAcks(clock, options.sendAck)
    this.#answers = new MeshAnswers({
      fleet: fleet.id,
      self: self.id,
      sealingKey: self.sealing.privateKey,
      commands,
      iface: options.iface,
      peers: () => this.#devicePeers.status(this.#peers()),
      open: () => openEndpoints(this.#paths.place.endpoints, options.publicEndpoint),
    })
    this.#location = new OwnLocation({
      ...options,
      fleet: this.#fleetRanges,
      paths: this.#paths,
      onLook: () => this.#announce(),
    })
    this.#device = device
    this.#succession = new KeySuccession(clock)
    this.#devicePeers = new DevicePeers({
      fleet: fleet.id,
      device,
      paths: this.#paths,
      succession: this.#succession,
      clock,
    })
    this.#psk = new PskAgreement({
      fleet: fleet.id,
      self,
      isWanted: options.psk === 'ml-kem-768',
      clock,
      log,
      say: (peer, content) => this.#announcer.say([peer], content),
      install: (peer, psk) => this.#devicePeers.setPsk(peer, psk),
    })
    this.#handover = new KeyHandover({
      clock,
      reachable: () => this.#devicePeers.reachable(this.#peers().filter(hasAgent)),
      say: (peers, content) => this.#announcer.say(peers, content),
      prepare: (peers, content) => this.#announcer.prepare(peers, content),
      isConnected: () => this.#announcer.isConnected && !this.#stopped,
    })
    this.#apply = new SerialTask(
      clock,
      () => this.#reconcile(),
      (problem) => log.warn('the mesh interface could not be brought up to date', { problem }),
    )
    options.relay?.onChange(() => void this.#apply.request())
    this.#keySignals = new KeySignals({
      succession: this.#succession,
      handover: this.#handover,
      devicePeers: this.#devicePeers,
      announcer: this.#announcer,
      apply: this.#apply,
      log,
    })
  }

  /** Where the map is; to be sent with `register` and `mesh_resync`. */
  get position(): MeshPosition | undefined {
    return this.#map.position
  }

  /** As last seen, at most some seconds ago. */
  get reachability(): { readonly peers: number; readonly reachable: number; readonly summary: MeshSummary } {
    return { peers: this.#accepted.peers.size, reachable: this.#reachable, summary: this.#summary }
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
    const { map, known, approved } = cache ?? emptyCache()
    this.#map = map
    this.#approved = approved
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
    const { peers: mapBefore, rules: rulesBefore } = this.#map
    const { peers: before } = this.#accepted
    const result = this.#map.fold(changes)
    if (this.#map.peers === mapBefore && this.#map.rules === rulesBefore) {
      // An empty change still moves the place in the log.
      if (result === 'applied' && changes.more === undefined) {
        this.#save.soon()
        const ack = this.#ackOf()
        if (ack !== undefined) this.#acks.moved(ack)
      }
      return result
    }
    this.#accept()
    this.#save.soon()
    void this.#apply.request()
    this.#announcer.announce(
      this.#peers().filter(({ id, seal }) => before.get(id)?.seal !== seal),
      { reply: true },
    )
    // A shared key is of two WireGuard keys: with another one it is agreed on anew.
    this.#psk.begin(this.#peers().filter(({ id, wg }) => before.get(id)?.wg !== wg))
    return result
  }

  /** Networks behind this node that its owner has approved. */
  approve(networks: readonly Cidr[]): void {
    this.#approved = networks
    this.#save.soon()
    void this.#apply.request()
  }

  /** Never throws: whoever can send a signal must not be able to stop the agent. */
  async onSignal(from: NodeId, sealed: string): Promise<void> {
    const lastAt = (kind: Signal['kind']) =>
      kind === 'endpoints' ? this.#paths.lastSignalAt(from) : this.#heard.lastAt(from, kind)
    const signal = await this.#signals.open(this.#accepted.peers.get(from), sealed, lastAt)
    // As the map has it by now.
    const sender = this.#accepted.peers.get(from)
    if (sender === undefined || signal === undefined) return
    if (signal.kind === 'endpoints') return this.#onEndpoints(sender, signal)
    this.#heard.note(from, signal)
    if (signal.kind === 'key') return this.#keySignals.hear(sender, signal)
    try {
      await this.#psk.hear(sender, signal)
    } catch (error) {
      this.#options.log.warn('a pre-shared key could not be set', { problem: String(error) })
    }
  }

  #onEndpoints(sender: MeshPeer, signal: EndpointsSignal): void {
    const { moved, worthTrying } = this.#paths.hear(sender.id, signal)
    if (moved) this.#save.soon()
    if (worthTrying) void this.#apply.request()
    if (signal.reply) this.#announcer.announce([sender], { reply: false })
  }

  /**
   * Changes to another key, which the gateway has announced; `commit` makes it the one in force, also after a crash. Unless it is done, nothing is
   * changed. @param isPatient see KeyHandover.
   */
  async handOver(
    next: MeshEngineOptions['self']['wireguard'],
    commit: () => void,
    isPatient: boolean,
  ): Promise<HandoverEnd> {
    // Not whether it is being brought up to date just now, which it is every few seconds.
    const isUp = this.#started && !this.#stopped && this.#apply.lastError === undefined
    if (!isUp || !this.#announcer.isConnected) return 'no gateway'
    const swap = async () => {
      commit()
      try {
        await this.#device.setPrivateKey(next.privateKey)
      } catch (error) {
        this.#options.log.warn('the interface did not take its new key at once', { problem: String(error) })
        this.#interfaceUp = false
        await this.#apply.request()
      }
    }
    const end = await this.#handover.run(next.publicKey, swap, isPatient)
    if (end === 'done') this.#psk.begin(this.#peers())
    return end
  }

  /** The session is up: every peer is told where this node is, and asked the same. */
  onConnected({ stun }: MeshSettings): void {
    this.#paths.useStun({ gateway: stun })
    this.#announcer.connect()
    this.#announcer.announce(this.#peers(), { reply: true })
    this.#acks.connect()
    this.#psk.beginEachDay(() => this.#peers())
  }

  /** The lease of the map has ended, or lasts again. */
  leaseChanged(): void {
    const { lease, log } = this.#options
    this.#accept()
    void this.#apply.request()
    if (lease.state === 'lasts') log.info('the mesh map may be used', { peers: this.#accepted.peers.size })
    else log.error(this.#leaseProblem ?? 'the mesh map may not be used', { fix: LEASE_FIX })
  }

  onDisconnected(): void {
    this.#announcer.disconnect()
    this.#acks.disconnect()
    this.#succession.release()
    if (this.#succession.isListening(this.#peers())) void this.#apply.request()
  }

  /** @returns what is sealed for whoever asks; undefined if there is no answer. */
  answer(question: MeshQuestion): Promise<string | undefined> {
    return this.#answers.answer(question)
  }

  async status(): Promise<MeshStatus> {
    const { iface, backend } = this.#options
    return {
      interface: iface,
      backend: backend.kind,
      position: this.position,
      peers: await this.#devicePeers.status(this.#peers()),
      names: this.#options.names?.status,
      routes: this.#enforcement.status,
      psk: this.#psk.settled.size,
      ignoredSignals: this.#signals.ignored,
      lastError: this.#leaseProblem ?? this.#apply.lastError ?? this.#leftOut,
    }
  }

  /** With `keepInterface` traffic goes on, and the next agent takes over. */
  async stop({ keepInterface }: { readonly keepInterface: boolean }): Promise<void> {
    this.#stopped = true
    this.#announcer.disconnect()
    this.#acks.stop()
    this.#tick?.cancel()
    this.#location.stop()
    this.#psk.stop()
    await this.#paths.stop()
    await this.#apply.stop()
    this.#mtuProbe?.close()
    this.#save.close()
    await this.#options.names?.stop()
    if (keepInterface) return
    await this.#interface.down()
    await this.#enforcement.stop()
  }

  get #leaseProblem(): string | undefined {
    return describeLease(this.#options.lease.state, this.#map.peers.size)
  }

  #peers(): MeshPeer[] {
    return [...this.#accepted.peers.values()]
  }

  /** The map has changed. */
  #accept(known?: ReadonlyMap<NodeId, Known>): void {
    const { fleet, self, lease } = this.#options
    const map = lease.state === 'lasts' ? this.#map.peers : new Map<NodeId, MeshPeer>()
    this.#accepted = acceptPeers(map, { id: fleet.id, range: this.#fleetRange }, self)
    this.#paths.setPeers(withAgents(this.#accepted.peers), known)
    this.#signals.forgetAllBut(this.#accepted.peers)
    this.#heard.forgetAllBut(this.#accepted.peers)
    this.#psk.forgetAllBut(this.#accepted.peers)
    this.#succession.forgetAllBut(this.#accepted.peers)
    this.#options.names?.follow(this.#peers())
  }

  async #bringUp(): Promise<'created' | 'adopted'> {
    const { iface, log, backend } = this.#options
    const origin = await this.#interface.up()
    this.#interfaceUp = true
    log.info('mesh interface up', { interface: iface, backend: backend.kind, origin })
    if (!this.#interface.hasIpv6) log.warn('this machine has no IPv6: the mesh here is IPv4 only')
    this.#options.names?.interfaceUp({ ipv6: this.#interface.hasIpv6 })
    await this.#openMtuProbe()
    return origin
  }

  async #openMtuProbe(): Promise<void> {
    const { openMtuProbe, self, clock, commands, log } = this.#options
    if (openMtuProbe === undefined || this.#mtuProbe !== undefined) return
    try {
      const probe = await openMtuProbe(self.ipv4)
      this.#mtuProbe = probe
      this.#mtu = new PathMtu({
        clock,
        probe,
        known: (endpoint) => innerMtuTo(commands, endpoint).catch(() => undefined),
        apply: () => this.#apply.request(),
      })
    } catch (error) {
      log.warn('the size of packets to peers cannot be found out', { problem: String(error) })
    }
  }

  async #reconcile(): Promise<void> {
    // What comes before the start is part of it.
    if (!this.#started) return
    if (!this.#interfaceUp) await this.#bringUp()
    this.#interfaceUp = false
    const ack = this.#ackOf()
    const { peers, refused: unenforced } = await this.#enforcement.admit({
      rules: this.#map.rules,
      peers: this.#peers(),
      approved: this.#approved,
    })
    await this.#enforcement.chooseRoutes(peers, this.#devicePeers.endpoints)
    const { reachable, learned, refused, reached, psks, pairs } = await this.#devicePeers.follow(
      peers,
      this.#enforcement,
    )
    await this.#psk.look(this.#accepted.peers, psks)
    this.#interfaceUp = true
    const missing = await this.#enforcement.setRoutes(
      peers,
      (id) => this.#mtu?.mtuOf(id),
      this.#interface.hasIpv6,
    )
    this.#mtu?.follow(reached, new Set(peers.map(({ id }) => id)))
    this.#summary = summarise(pairs)
    if (ack !== undefined) this.#acks.applied(ack)
    const leftOut = describeRefused([...this.#accepted.refused, ...unenforced, ...refused])
    this.#noteLeftOut(leftOut ?? missing)
    this.#reachable = reachable
    if (learned) this.#save.soon()
    this.#scheduleTick()
  }

  /** What can be said of the map as it is now, once it is on the interface. */
  #ackOf(): MapAck | undefined {
    const { position, hash } = this.#map
    return position && { ...position, hash }
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
    const isUnsettled = this.#paths.isUnsettled() || this.#succession.isListening(this.#peers())
    const wait = isUnsettled ? SEARCH_TICK_MS : IDLE_TICK_MS
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
      this.#options.saveCache(
        formatCache({ map: this.#map, known: this.#paths.known, approved: this.#approved }),
      )
    } catch (error) {
      this.#options.log.warn('the mesh map could not be cached', { problem: String(error) })
    }
  }
}

const NO_OFFERS = { offers: [], masquerade: true, note: { load: () => undefined, save: () => {} } }

const notStarted = (error: CommandError): UserError =>
  new UserError({
    code: 'E_MESH_START',
    message: 'the mesh interface cannot be set up',
    why: error.message,
    fix: 'run with --no-mesh to do without',
  })
