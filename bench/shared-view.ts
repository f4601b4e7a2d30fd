/**
 * The map of many simulated nodes, folded once: as long as every node hears of every other they all have the same one, and thousands of
 * copies would be the load's own work. Each node still keeps its place, and only follows what starts exactly there.
 */
import { MeshMap } from '../agent/mesh/map.ts'
import { parseJson } from '../protocol/json.ts'
import { MeshChanges, type MeshPosition } from '../protocol/mesh.ts'
import type { SimulatedNode } from './simulated-node.ts'

const HEAD = /^\{"type":"mesh","epoch":"([^"]+)",(?:"from":(\d+),)?"to":(\d+)/

export class SharedView {
  readonly #map = new MeshMap()
  readonly #hashes = new Map<number, string>()

  get position(): MeshPosition | undefined {
    return this.#map.position
  }

  /** Undefined for a place at which the shared map never was. */
  hashAt(seq: number): string | undefined {
    return this.#hashes.get(seq)
  }

  fold(text: string): void {
    const { type: _, ...changes } = parseJson(text) as Record<string, unknown>
    if (this.#map.fold(MeshChanges.parse(changes)) !== 'applied' || changes['more']) return
    const { position, hash } = this.#map
    if (position !== undefined) this.#hashes.set(position.seq, hash)
  }
}

/** A node that follows the mesh and acknowledges each place it gets to, at once. */
export class Follower {
  readonly node: SimulatedNode
  /** Frames that did not start where this node was. */
  gaps = 0
  acknowledged = 0
  /** Called when it has got to another place. */
  onPlace: ((seq: number, bytes: number) => void) | undefined
  readonly #view: SharedView
  #seq = -1

  constructor(node: SimulatedNode, view: SharedView) {
    this.node = node
    this.#view = view
  }

  /** @param at the place from which it has the map, as one has that was here before. */
  async connect(at: MeshPosition | undefined): Promise<void> {
    this.#seq = at?.seq ?? -1
    this.node.onMesh = (text) => this.#follow(text)
    await this.node.connect({ mesh: true, at })
    if (at !== undefined) this.#acknowledge(at)
  }

  #follow(text: string): void {
    const [, epoch = '', from, to] = HEAD.exec(text) ?? []
    if (from === undefined && text.endsWith('"more":true}')) {
      this.#view.fold(text)
      return
    }
    if (from !== undefined && Number(from) !== this.#seq) {
      this.gaps++
      return
    }
    const seq = Number(to)
    this.#seq = seq
    const shared = this.#view.position?.seq
    if (shared === undefined || shared === Number(from)) this.#view.fold(text)
    this.onPlace?.(seq, text.length)
    this.#acknowledge({ epoch, seq })
  }

  #acknowledge(at: MeshPosition): void {
    const hash = this.#view.hashAt(at.seq)
    if (hash === undefined) return
    this.node.acknowledge(at, hash)
    this.acknowledged++
  }
}
