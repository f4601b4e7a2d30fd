/**
 * The mesh on this node: keeps the WireGuard interface in step with the map the gateway sends, and tells the peers where this node is.
 *
 * It needs the gateway for news only. Map and endpoints are cached, the interface outlives the agent, and a failed command is tried
 * again without anyone's help.
 */
import { UserError } from '../../host/user-error.ts'
import { fleetIpv6Prefix, nodeIpv6 } from '../../protocol/addresses.ts'
import type { MeshQuestion } from '../../protocol/frames.ts'
import type { Cidr, NodeId } from '../../protocol/ids.ts'
import type { MeshChanges, MeshPeer, MeshPosition } from '../../protocol/mesh.ts'
import type { MeshSummary } from '../../protocol/mesh-report.ts'
import { hasAgent, withAgents } from './agent-peer.ts'
import { Announcer } from './announcer.ts'
import { MeshAnswers } from './answers.ts'
import type { Known } from './cache.ts'
import { DevicePeers } from './device-peers.ts'
import { openEndpoints } from './endpoints.ts'
import { Enforcement } from './enforcement.ts'
import type { MeshEngineOptions, MeshSettings, MeshStatus } from './engine-options.ts'
import { CommandError } from './exec.ts'
import { requireFleetRange } from './fleet-range.ts'
import { HeldMap } from './held-map.ts'
import { IncomingSignals } from './incoming-signals.ts'
import { MeshInterface } from './interface.ts'
import { ranges } from './ip-ranges.ts'
import { type HandoverEnd, KeyHandover } from './key-handover.ts'
import { KeySignals } from './key-signals.ts'
import { KeySuccession } from './key-succession.ts'
import type { FoldResult } from './map.ts'
import { MapAcks } from './map-acks.ts'
import { LEASE_FIX } from './map-lease.ts'
import { OwnLocation } from './paths/own-location.ts'
import { PathEngine } from './paths/path-engine.ts'
import { PskAgreement } from './psk-agreement.ts'
import { noRelay } from './relay-paths.ts'
import { Signals } from './signals.ts'
import { Upkeep } from './upkeep.ts'
import { WireGuardDevice } from './wg.ts'

export class MeshEngine {
  readonly #options: MeshEngineOptions
  readonly #map: HeldMap
  readonly #interface: MeshInterface
  readonly #device: WireGuardDevice
  readonly #devicePeers: DevicePeers
  readonly #enforcement: Enforcement
  readonly #upkeep: Upkeep
  readonly #paths: PathEngine
  readonly #location: OwnLocation
  readonly #signals: Signals
  readonly #incoming: IncomingSignals
  readonly #announcer: Announcer
  readonly #succession: KeySuccession
  readonly #handover: KeyHandover
  readonly #psk: PskAgreement
  readonly #acks: MapAcks
  readonly #answers: MeshAnswers

  /** @throws UserError if the gateway's address range is not one to route to a mesh. */
  constructor(options: MeshEngineOptions) {
    const { fleet, self, clock, commands, backend, listenPort, log } = options
    this.#options = options
    this.#map = new HeldMap({
      ...options,
      fleetRange: requireFleetRange(fleet.ipv4Range, self.ipv4),
      known: () => this.#paths.known,
    })
    const ipv6Range = fleetIpv6Prefix(fleet.id)
    this.#device = new WireGuardDevice(commands, options.iface)
    this.#interface = new MeshInterface({
      commands,
      backend,
      device: this.#device,
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
      apply: () => void this.#upkeep.request(),
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
      fleet: ranges(fleet.ipv4Range, ipv6Range),
      paths: this.#paths,
      onLook: () => this.#announce(),
    })
    this.#succession = new KeySuccession(clock)
    this.#devicePeers = new DevicePeers({
      fleet: fleet.id,
      device: this.#device,
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
      isConnected: () => this.#announcer.isConnected && !this.#upkeep.isStopped,
    })
    this.#upkeep = new Upkeep({
      ...options,
      map: this.#map,
      interface: this.#interface,
      enforcement: this.#enforcement,
      devicePeers: this.#devicePeers,
      psk: this.#psk,
      acks: this.#acks,
      paths: this.#paths,
      location: this.#location,
      succession: this.#succession,
    })
    options.relay?.onChange(() => void this.#upkeep.request())
    const keySignals = new KeySignals({
      succession: this.#succession,
      handover: this.#handover,
      devicePeers: this.#devicePeers,
      announcer: this.#announcer,
      apply: this.#upkeep,
      log,
    })
    this.#incoming = new IncomingSignals({
      map: this.#map,
      signals: this.#signals,
      paths: this.#paths,
      announcer: this.#announcer,
      keySignals,
      psk: this.#psk,
      apply: this.#upkeep,
      log,
    })
  }

  /** Where the map is; to be sent with `register` and `mesh_resync`. */
  get position(): MeshPosition | undefined {
    return this.#map.position
  }

  /** As last seen, at most some seconds ago. */
  get reachability(): { readonly peers: number; readonly reachable: number; readonly summary: MeshSummary } {
    return { peers: this.#map.peers.size, ...this.#upkeep.seen }
  }

  /**
   * Brings the interface up as it was last known to be, without the gateway. Peers whose endpoints are known are called at once: they
   * would otherwise go on sending to a session that a reboot has ended, for some 15 s.
   * @throws UserError if there can be no interface here.
   */
  async start(): Promise<'created' | 'adopted'> {
    this.#accept(this.#map.load())
    await this.#location.look()
    const origin = await this.#upkeep.start().catch((error) => {
      throw error instanceof CommandError ? notStarted(error) : error
    })
    await this.#paths.start()
    this.#announce()
    this.#location.watch(() => void this.#upkeep.request())
    await this.#upkeep.request()
    return origin
  }

  /** After `gap` the caller asks the gateway for a resync from `position`. */
  applyChanges(changes: MeshChanges): FoldResult {
    const { peers: before } = this.#map
    const { result, isOther } = this.#map.fold(changes)
    if (!isOther) {
      // An empty change still moves the place in the log.
      if (result === 'applied' && changes.more === undefined) {
        this.#map.saveSoon()
        const { ack } = this.#map
        if (ack !== undefined) this.#acks.moved(ack)
      }
      return result
    }
    this.#accept()
    this.#map.saveSoon()
    void this.#upkeep.request()
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
    this.#map.approve(networks)
    void this.#upkeep.request()
  }

  /** Never throws: whoever can send a signal must not be able to stop the agent. */
  onSignal(from: NodeId, sealed: string): Promise<void> {
    return this.#incoming.hear(from, sealed)
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
    if (!this.#upkeep.isUp || !this.#announcer.isConnected) return 'no gateway'
    const swap = async () => {
      commit()
      try {
        await this.#device.setPrivateKey(next.privateKey)
      } catch (error) {
        this.#options.log.warn('the interface did not take its new key at once', { problem: String(error) })
        await this.#upkeep.rebuild()
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
    void this.#upkeep.request()
    if (lease.state === 'lasts') log.info('the mesh map may be used', { peers: this.#map.peers.size })
    else log.error(this.#map.leaseProblem ?? 'the mesh map may not be used', { fix: LEASE_FIX })
  }

  onDisconnected(): void {
    this.#announcer.disconnect()
    this.#acks.disconnect()
    this.#succession.release()
    if (this.#succession.isListening(this.#peers())) void this.#upkeep.request()
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
      lastError: this.#map.leaseProblem ?? this.#upkeep.lastError ?? this.#upkeep.leftOut,
    }
  }

  /** With `keepInterface` traffic goes on, and the next agent takes over. */
  async stop({ keepInterface }: { readonly keepInterface: boolean }): Promise<void> {
    this.#upkeep.stopLooking()
    this.#announcer.disconnect()
    this.#acks.stop()
    this.#location.stop()
    this.#psk.stop()
    await this.#paths.stop()
    await this.#upkeep.stop()
    this.#map.close()
    await this.#options.names?.stop()
    if (keepInterface) return
    await this.#interface.down()
    await this.#enforcement.stop()
  }

  #peers(): MeshPeer[] {
    return [...this.#map.peers.values()]
  }

  /** The map or its lease is another. @param known where its peers are. */
  #accept(known?: ReadonlyMap<NodeId, Known>): void {
    this.#map.accept()
    const { peers } = this.#map
    this.#paths.setPeers(withAgents(peers), known)
    this.#incoming.forgetAllBut(peers)
    this.#psk.forgetAllBut(peers)
    this.#succession.forgetAllBut(peers)
    this.#options.names?.follow(this.#peers())
  }

  /** To this peer, or to all if there is anything new to tell. */
  #announce(peer?: NodeId): void {
    const isNew = this.#announcer.relocate(this.#paths.place)
    const one = peer === undefined ? undefined : this.#map.peers.get(peer)
    if (isNew) this.#announcer.announce(this.#peers(), { reply: false })
    else if (one !== undefined) this.#announcer.announce([one], { reply: false })
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
