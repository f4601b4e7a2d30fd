/**
 * The mesh's part of the registry: every change of a node that its peers must hear of goes through here, gets the class that the policy gives
 * it, an entry in the log, and its way to those whom it concerns.
 */
import type { NodeId } from '../protocol/ids.ts'
import type { MeshPosition } from '../protocol/mesh.ts'
import { allShardNames, shardName } from '../protocol/shard.ts'
import type { NodeRow } from './fleet-schema.ts'
import { MeshClasses } from './mesh-classes.ts'
import { MeshFanout, type PublishToShard } from './mesh-fanout.ts'
import { isMember, peerOf, policyNodeOf } from './mesh-frames.ts'
import { type MapLag, MeshLog, type MeshUpdate } from './mesh-log.ts'
import { MeshPolicies } from './mesh-policies.ts'
import { MeshView } from './mesh-view.ts'
import type { Sql } from './sql.ts'

/** Moves that were left over by an object that is gone, taken up at one sweep. */
const MOVES_AT_ONCE = 1000

interface MeshPlace {
  readonly audience: number
  readonly seq: number
}

/** The newest place of each class: whoever is behind it has missed something. */
export interface MeshPlacesNow {
  readonly epoch: string
  readonly places: readonly MeshPlace[]
}

export interface MeshLag {
  readonly head: MeshPosition
  readonly lags: readonly MapLag[]
}

export interface MeshChange {
  /** Whether any peer must hear of it. */
  readonly heard: boolean
  /** Whether the node is of another class, and so may have lost peers and ports. */
  readonly moved: boolean
}

export class FleetMesh {
  readonly log: MeshLog
  readonly classes: MeshClasses
  readonly policies: MeshPolicies
  readonly view: MeshView
  readonly #sql: Sql
  readonly #shards: number
  readonly #fanout: MeshFanout

  constructor(sql: Sql, epoch: string, shards: number, publish: PublishToShard) {
    this.#sql = sql
    this.#shards = shards
    this.policies = new MeshPolicies(sql)
    this.classes = new MeshClasses(sql)
    this.view = new MeshView(this.policies, this.classes)
    this.log = new MeshLog(sql, epoch, this.view, this.classes)
    const audiences = this.policies.newest === 0 ? [0] : this.classes.ids
    this.#fanout = new MeshFanout(this.log, allShardNames(shards), audiences, publish, (moves) => {
      for (const { node } of moves) this.#sql.run('DELETE FROM mesh_moves WHERE node_id = ?', node)
    })
  }

  /** A session of this node begins. Without `mesh` it is told nothing. */
  register(id: NodeId, at: MeshPosition | undefined): MeshUpdate {
    const row = this.#row(id)
    const audience = row?.class ?? 0
    if (row === undefined || row.mesh === 0) {
      const position = { epoch: this.log.epoch, seq: this.log.head }
      return { position, hash: '', audience, sees: null, frames: [], snapshot: false }
    }
    this.#fanout.listens(this.#shardOf(row.id), audience)
    return this.log.since(row, at)
  }

  changesSince(id: NodeId, at: MeshPosition | undefined): MeshUpdate {
    const row = this.#row(id)
    if (row === undefined) throw new Error('a node that follows the mesh is not in the registry')
    return this.log.since(row, at)
  }

  /** Null: all, since there is no policy. */
  seenBy(audience: number): number[] | null {
    const seen = this.view.now.seenBy(audience)
    return seen && [...seen]
  }

  /** Whether the two may hear of each other and exchange packets. */
  mayTalk(one: NodeId, other: NodeId): boolean {
    if (one === other) return false
    const [a, b] = [this.#row(one), this.#row(other)].map((row) => row && classIn(row))
    return typeof a === 'number' && typeof b === 'number' && this.view.now.sees(a, b)
  }

  /** Those of the peers that the node may talk to, in their order. */
  relayable(node: NodeId, peers: readonly NodeId[]): NodeId[] {
    return peers.filter((peer) => this.mayTalk(node, peer))
  }

  /** @param work changes the node's row; all of it is one transaction. To be followed by `publish`. */
  change<T>(id: NodeId, work: () => T): MeshChange & { readonly done: T } {
    return this.#sql.transaction(() => {
      const before = this.#row(id)
      const done = work()
      this.#classify(id)
      const after = this.#row(id)
      if (after === undefined) return { heard: false, moved: false, done }
      const [was, now] = [before && classIn(before), classIn(after)]
      const isHeard =
        (was ?? null) !== now ||
        (now !== null && JSON.stringify(before && peerOf(before)) !== JSON.stringify(peerOf(after)))
      if (isHeard) this.log.append(id, was ?? null, now)
      const isMoved = was !== null && was !== undefined && now !== null && was !== now
      if (isMoved) this.move(id, was, now)
      return { heard: isHeard, moved: isMoved, done }
    })
  }

  /** @param urgent takes somebody out of the map. */
  publish({ heard, moved }: MeshChange, { urgent = false } = {}): Promise<void> {
    return heard || urgent ? this.#fanout.changed({ urgent: urgent || moved }) : Promise.resolve()
  }

  /** The node's session must hear that it is of another class. Call in the transaction that makes it so. */
  move(node: NodeId, was: number, now: number): void {
    this.#sql.run('INSERT INTO mesh_moves (node_id) VALUES (?) ON CONFLICT DO NOTHING', node)
    this.#fanout.moved(this.#shardOf(node), { node, was, now })
  }

  /** Where the log is, and how far each of these places is behind what concerns its class. */
  lag(places: readonly MeshPlace[]): MeshLag {
    return {
      head: { epoch: this.log.epoch, seq: this.log.head },
      lags: places.map(({ audience, seq }) => this.log.lag(audience, seq)),
    }
  }

  async sweep(): Promise<MeshPlacesNow> {
    this.#takeUpMoves()
    await this.#fanout.flush()
    const audiences = this.policies.newest === 0 ? [0] : this.classes.ids
    return {
      epoch: this.log.epoch,
      places: audiences.map((audience) => ({ audience, seq: this.log.place(audience) })),
    }
  }

  /**
   * By the policy that is in force; before the first there are no classes. A node that is not in the map waits: a class of its own would
   * begin where no entry of the log tells those who let it in.
   */
  #classify(id: NodeId): void {
    const policy = this.policies.current
    const row = this.#row(id)
    if (policy === undefined || row === undefined || !isMember(row)) return
    const since = this.log.head + 1
    const audience = this.classes.of(policy.bound.membershipOf(policyNodeOf(row)), since)
    if (audience !== row.class)
      this.#sql.run('UPDATE nodes SET class = ?, class_since = ? WHERE id = ?', audience, since, id)
  }

  #takeUpMoves(): void {
    const left = this.#sql.all<{ id: NodeId; class: number | null }>(
      'SELECT n.id, n.class FROM mesh_moves m JOIN nodes n ON n.id = m.node_id LIMIT ?',
      MOVES_AT_ONCE,
    )
    // Of which class its session knows is the shard's to say.
    for (const { id, class: now } of left)
      this.#fanout.moved(this.#shardOf(id), { node: id, was: now ?? 0, now: now ?? 0 })
  }

  #shardOf(node: NodeId): string {
    return shardName(node, this.#shards)
  }

  #row(id: NodeId): NodeRow | undefined {
    return this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE id = ?', id)
  }
}

/** Null for a node that is not in the map. */
const classIn = (row: NodeRow): number | null => (isMember(row) ? (row.class ?? 0) : null)
