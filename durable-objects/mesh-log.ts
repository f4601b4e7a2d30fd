/**
 * The mesh change log: who changed, in order, and from it the changes that lead a node from the place it has to the newest.
 *
 * A fresh node's snapshot is built once and used for many: what has changed since it was built follows it as an ordinary delta.
 */
import { numberToIpv4 } from '../protocol/addresses.ts'
import { type NodeId, Tags } from '../protocol/ids.ts'
import { MESH_ENTRIES_PER_FRAME, MESH_LOG_KEEP } from '../protocol/limits.ts'
import type { MeshChanges, MeshPeer, MeshPosition } from '../protocol/mesh.ts'
import type { NodeRow } from './fleet-schema.ts'
import { MapHash } from './map-hash.ts'
import type { Sql } from './sql.ts'

/** Entries by which a kept snapshot may lag; building one reads every node's row. */
const SNAPSHOT_MAX_LAG = 256
const PRUNE_EVERY = 1024

/** What to send, encoded: each is one session frame. */
export interface MeshUpdate {
  readonly position: MeshPosition
  /** Of the map that they lead to (crypto/mesh-hash.ts). */
  readonly hash: string
  readonly frames: readonly string[]
  readonly snapshot: boolean
}

export class MeshLog {
  readonly #sql: Sql
  readonly #epoch: string
  readonly #mapHash: MapHash
  #snapshot: { readonly seq: number; readonly frames: readonly string[] } | undefined
  #head: number

  constructor(sql: Sql, epoch: string) {
    this.#sql = sql
    this.#epoch = epoch
    this.#mapHash = new MapHash({ all: () => this.#members(), one: (id) => this.#member(id) })
    this.#head = sql.first<{ seq: number | null }>('SELECT MAX(seq) AS seq FROM mesh_log')?.seq ?? 0
  }

  get position(): MeshPosition {
    return { epoch: this.#epoch, seq: this.#head }
  }

  /** Call in the transaction that changes the node. */
  append(node: NodeId): void {
    const seq = this.#sql.first<{ seq: number }>(
      'INSERT INTO mesh_log (node_id, at) VALUES (?, ?) RETURNING seq',
      node,
      Date.now(),
    )?.seq
    if (seq === undefined) throw new Error('the mesh log gave no sequence number')
    this.#head = seq
    this.#mapHash.touch(node)
    if (seq % PRUNE_EVERY === 0) this.#sql.run('DELETE FROM mesh_log WHERE seq <= ?', seq - MESH_LOG_KEEP)
  }

  /** From `at` to the newest: a delta where the log reaches back that far, else a snapshot. */
  since(at: MeshPosition | undefined): MeshUpdate {
    if (at !== undefined && at.epoch === this.#epoch && at.seq <= this.#head && this.#reachesBackTo(at.seq)) {
      return {
        position: this.position,
        hash: this.viewHash(),
        frames: this.#delta(at.seq),
        snapshot: false,
      }
    }
    if (this.#snapshot === undefined || this.#head - this.#snapshot.seq > SNAPSHOT_MAX_LAG)
      this.#snapshot = this.#build()
    return {
      position: this.position,
      hash: this.viewHash(),
      frames: [...this.#snapshot.frames, ...this.#delta(this.#snapshot.seq)],
      snapshot: true,
    }
  }

  /** Of the map at the newest place, which is the same for every node as long as every node hears of every other. */
  viewHash(): string {
    return this.#mapHash.of(null, null)
  }

  /** When the entry after that place was made, which a node there is waiting for; null if there is none. */
  owedSince(seq: number): number | null {
    if (seq >= this.#head) return null
    const next = this.#sql.first<{ at: number }>(
      'SELECT at FROM mesh_log WHERE seq > ? ORDER BY seq LIMIT 1',
      seq,
    )
    return next?.at ?? null
  }

  #reachesBackTo(seq: number): boolean {
    if (seq === this.#head) return true
    const oldest = this.#sql.first<{ seq: number | null }>('SELECT MIN(seq) AS seq FROM mesh_log')?.seq
    return oldest !== null && oldest !== undefined && seq >= oldest - 1
  }

  /** The changes after `seq`, cut so that each frame stays small; each part leads to the place its last entry has. */
  #delta(seq: number): string[] {
    const rows = this.#sql.all<NodeRow & { seq: number }>(
      `SELECT n.*, l.seq FROM (SELECT node_id, MAX(seq) AS seq FROM mesh_log WHERE seq > ? GROUP BY node_id) l
       JOIN nodes n ON n.id = l.node_id ORDER BY l.seq`,
      seq,
    )
    const frames: string[] = []
    let from = seq
    for (let start = 0; start < rows.length; start += MESH_ENTRIES_PER_FRAME) {
      const part = rows.slice(start, start + MESH_ENTRIES_PER_FRAME)
      const last = start + part.length === rows.length
      const to = last ? this.#head : (part.at(-1)?.seq ?? this.#head)
      const put = part.filter(isMember).map(peerOf)
      const del = part.filter((row) => !isMember(row)).map((row) => row.id)
      frames.push(
        encode({
          epoch: this.#epoch,
          from,
          to,
          ...(put.length > 0 && { put }),
          ...(del.length > 0 && { del }),
        }),
      )
      from = to
    }
    return frames
  }

  #build(): { seq: number; frames: string[] } {
    const peers = this.#members()
    const frames: string[] = []
    for (let start = 0; start === 0 || start < peers.length; start += MESH_ENTRIES_PER_FRAME) {
      const more = start + MESH_ENTRIES_PER_FRAME < peers.length
      const put = peers.slice(start, start + MESH_ENTRIES_PER_FRAME)
      frames.push(encode({ epoch: this.#epoch, to: this.#head, put, ...(more && { more: true as const }) }))
    }
    return { seq: this.#head, frames }
  }

  #members(): MeshPeer[] {
    return this.#sql
      .all<NodeRow>(
        'SELECT * FROM nodes WHERE mesh = 1 AND removed_at IS NULL AND quarantine IS NULL ORDER BY id',
      )
      .map(peerOf)
  }

  #member(id: NodeId): MeshPeer | undefined {
    const row = this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE id = ?', id)
    return row && isMember(row) ? peerOf(row) : undefined
  }
}

const isMember = (row: NodeRow): boolean =>
  row.mesh === 1 && row.removed_at === null && row.quarantine === null

function peerOf(row: NodeRow): MeshPeer {
  const tags = Tags.parse(JSON.parse(row.tags))
  return {
    id: row.id,
    name: row.name,
    wg: row.wg_key,
    ...(row.external === 0 && { seal: row.sealing_key }),
    ip4: numberToIpv4(row.ipv4),
    ...(tags.length > 0 && { tags }),
  }
}

const encode = (changes: MeshChanges): string => JSON.stringify({ type: 'mesh', ...changes })
