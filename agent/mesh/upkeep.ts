/**
 * Keeps the interface in step with the map: whenever something has changed, and every few seconds, because nobody else says when a handshake has
 * come, or when another program has taken the interface away. A failed command is tried again without anyone's help.
 */
import type { MeshSummary } from '../../protocol/mesh-report.ts'
import type { Timer } from '../clock.ts'
import type { DevicePeers } from './device-peers.ts'
import type { Enforcement } from './enforcement.ts'
import type { MeshEngineOptions } from './engine-options.ts'
import type { HeldMap } from './held-map.ts'
import type { MeshInterface } from './interface.ts'
import type { KeySuccession } from './key-succession.ts'
import type { MapAcks } from './map-acks.ts'
import { MtuDiscovery } from './mtu-discovery.ts'
import { summarise } from './pair-report.ts'
import type { OwnLocation } from './paths/own-location.ts'
import type { PathEngine } from './paths/path-engine.ts'
import type { PskAgreement } from './psk-agreement.ts'
import { describeRefused } from './refused-peers.ts'
import { SerialTask } from './serial-task.ts'

/** How often to look at the interface while a candidate may answer any moment, and otherwise. */
const SEARCH_TICK_MS = 1_000
const IDLE_TICK_MS = 10_000

interface Options
  extends Pick<
    MeshEngineOptions,
    'iface' | 'backend' | 'names' | 'openMtuProbe' | 'self' | 'clock' | 'commands' | 'log'
  > {
  readonly map: HeldMap
  readonly interface: MeshInterface
  readonly enforcement: Enforcement
  readonly devicePeers: DevicePeers
  readonly psk: Pick<PskAgreement, 'look'>
  readonly acks: Pick<MapAcks, 'applied'>
  readonly paths: Pick<PathEngine, 'isUnsettled'>
  readonly location: Pick<OwnLocation, 'look'>
  readonly succession: Pick<KeySuccession, 'isListening'>
}

export class Upkeep {
  readonly #options: Options
  readonly #task: SerialTask
  readonly #mtu: MtuDiscovery
  /** Why some peers are not on the interface; undefined if all are. */
  #leftOut: string | undefined
  /** False after a failure: the interface may be gone, and is looked after before anything else. */
  #interfaceUp = false
  #reachable = 0
  #summary: MeshSummary = summarise([])
  #tick: Timer | undefined
  #started = false
  #stopped = false

  constructor(options: Options) {
    this.#options = options
    this.#task = new SerialTask(
      options.clock,
      () => this.#reconcile(),
      (problem) => options.log.warn('the mesh interface could not be brought up to date', { problem }),
    )
    this.#mtu = new MtuDiscovery({ ...options, apply: () => this.request() })
  }

  get isStopped(): boolean {
    return this.#stopped
  }

  /** Of the last try; undefined if the interface is as it should be. */
  get lastError(): string | undefined {
    return this.#task.lastError
  }

  /** Also while it is being brought up to date, which it is every few seconds. */
  get isUp(): boolean {
    return this.#started && !this.#stopped && this.lastError === undefined
  }

  get leftOut(): string | undefined {
    return this.#leftOut
  }

  /** As last seen, at most some seconds ago. */
  get seen(): { readonly reachable: number; readonly summary: MeshSummary } {
    return { reachable: this.#reachable, summary: this.#summary }
  }

  async start(): Promise<'created' | 'adopted'> {
    const origin = await this.#bringUp()
    this.#started = true
    return origin
  }

  /** Resolves when a look that began after this call has ended, well or not. */
  request(): Promise<void> {
    return this.#task.request()
  }

  /** The interface cannot be trusted to be as it was made. */
  rebuild(): Promise<void> {
    this.#interfaceUp = false
    return this.request()
  }

  /** To be followed by `stop`. */
  stopLooking(): void {
    this.#stopped = true
    this.#tick?.cancel()
  }

  async stop(): Promise<void> {
    await this.#task.stop()
    this.#mtu.close()
  }

  async #bringUp(): Promise<'created' | 'adopted'> {
    const { iface, log, backend, names, interface: wireguard } = this.#options
    const origin = await wireguard.up()
    this.#interfaceUp = true
    log.info('mesh interface up', { interface: iface, backend: backend.kind, origin })
    if (!wireguard.hasIpv6) log.warn('this machine has no IPv6: the mesh here is IPv4 only')
    names?.interfaceUp({ ipv6: wireguard.hasIpv6 })
    await this.#mtu.open()
    return origin
  }

  async #reconcile(): Promise<void> {
    const { map, enforcement, devicePeers, psk, acks, interface: wireguard } = this.#options
    // What comes before the start is part of it.
    if (!this.#started) return
    if (!this.#interfaceUp) await this.#bringUp()
    this.#interfaceUp = false
    const { ack } = map
    const { peers, refused: unenforced } = await enforcement.admit({
      rules: map.rules,
      peers: [...map.peers.values()],
      approved: map.approved,
    })
    await enforcement.chooseRoutes(peers, devicePeers.endpoints)
    const { reachable, learned, refused, reached, psks, pairs } = await devicePeers.follow(peers, enforcement)
    await psk.look(map.peers, psks)
    this.#interfaceUp = true
    const missing = await enforcement.setRoutes(peers, (id) => this.#mtu.mtuOf(id), wireguard.hasIpv6)
    this.#mtu.follow(reached, new Set(peers.map(({ id }) => id)))
    this.#summary = summarise(pairs)
    if (ack !== undefined) acks.applied(ack)
    const leftOut = describeRefused([...map.refused, ...unenforced, ...refused])
    this.#noteLeftOut(leftOut ?? missing)
    this.#reachable = reachable
    if (learned) map.saveSoon()
    this.#scheduleTick()
  }

  #noteLeftOut(problem: string | undefined): void {
    if (problem !== undefined && problem !== this.#leftOut)
      this.#options.log.warn('peers are left out of the mesh', { problem })
    this.#leftOut = problem
  }

  #scheduleTick(): void {
    if (this.#stopped) return
    const { clock, map, paths, succession, location } = this.#options
    this.#tick?.cancel()
    const isUnsettled = paths.isUnsettled() || succession.isListening(map.peers.values())
    const wait = isUnsettled ? SEARCH_TICK_MS : IDLE_TICK_MS
    this.#tick = clock.after(wait, () => void location.look().then(() => this.request()))
  }
}
