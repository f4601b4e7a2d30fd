/** The map as this node holds it: kept on disk, used while its lease lasts, and of its peers only those that this node accepts. */
import type { Ipv4Range } from '../../protocol/addresses.ts'
import type { Cidr, NodeId } from '../../protocol/ids.ts'
import type { MeshChanges, MeshPeer, MeshPosition } from '../../protocol/mesh.ts'
import { type Acceptance, acceptPeers } from './accepted-peers.ts'
import { emptyCache, formatCache, type Known, parseCache } from './cache.ts'
import { DelayedSave } from './delayed-save.ts'
import type { MeshEngineOptions } from './engine-options.ts'
import { type FoldResult, MeshMap, type MeshRules } from './map.ts'
import type { MapAck } from './map-acks.ts'
import { describeLease } from './map-lease.ts'
import type { RefusedPeer } from './refused-peers.ts'

interface Options
  extends Pick<MeshEngineOptions, 'fleet' | 'self' | 'lease' | 'clock' | 'log' | 'loadCache' | 'saveCache'> {
  readonly fleetRange: Ipv4Range
  /** What is to be kept beside the map: where peers are. */
  readonly known: () => ReadonlyMap<NodeId, Known>
}

export class HeldMap {
  readonly #options: Options
  readonly #save: DelayedSave
  #map = new MeshMap()
  #approved: readonly Cidr[] = []
  #accepted: Acceptance = { peers: new Map(), refused: [] }

  constructor(options: Options) {
    this.#options = options
    this.#save = new DelayedSave(options.clock, () => this.#write())
  }

  get position(): MeshPosition | undefined {
    return this.#map.position
  }

  /** What can be said of the map as it is now, once it is on the interface. */
  get ack(): MapAck | undefined {
    const { position, hash } = this.#map
    return position && { ...position, hash }
  }

  get rules(): MeshRules {
    return this.#map.rules
  }

  /** Networks behind this node that its owner has approved. */
  get approved(): readonly Cidr[] {
    return this.#approved
  }

  /** As of the last `accept`. */
  get peers(): ReadonlyMap<NodeId, MeshPeer> {
    return this.#accepted.peers
  }

  get refused(): readonly RefusedPeer[] {
    return this.#accepted.refused
  }

  /** Why the map may not be used; undefined if it may. */
  get leaseProblem(): string | undefined {
    return describeLease(this.#options.lease.state, this.#map.peers.size)
  }

  /** What was last kept. @returns where the peers were then. */
  load(): ReadonlyMap<NodeId, Known> {
    const { loadCache, log } = this.#options
    const text = loadCache()
    const cache = text === undefined ? emptyCache() : parseCache(text)
    if (cache === undefined) log.warn('the cached mesh map cannot be read; the gateway will send it anew')
    const { map, known, approved } = cache ?? emptyCache()
    this.#map = map
    this.#approved = approved
    return known
  }

  /** @returns also whether the map says anything else now, which is to be followed by `accept`. */
  fold(changes: MeshChanges): { readonly result: FoldResult; readonly isOther: boolean } {
    const { peers, rules } = this.#map
    const result = this.#map.fold(changes)
    return { result, isOther: this.#map.peers !== peers || this.#map.rules !== rules }
  }

  approve(networks: readonly Cidr[]): void {
    this.#approved = networks
    this.saveSoon()
  }

  /** The map or its lease is another. */
  accept(): void {
    const { fleet, fleetRange, self, lease } = this.#options
    const map = lease.state === 'lasts' ? this.#map.peers : new Map<NodeId, MeshPeer>()
    this.#accepted = acceptPeers(map, { id: fleet.id, range: fleetRange }, self)
  }

  saveSoon(): void {
    this.#save.soon()
  }

  /** Saves what still waits to be, and nothing afterwards. */
  close(): void {
    this.#save.close()
  }

  #write(): void {
    const { known, saveCache, log } = this.#options
    try {
      saveCache(formatCache({ map: this.#map, known: known(), approved: this.#approved }))
    } catch (error) {
      log.warn('the mesh map could not be cached', { problem: String(error) })
    }
  }
}
