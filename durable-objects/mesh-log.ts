/**
 * The mesh change log: who changed, in order, and from it the changes that lead a node from the place it has to the newest that concerns its
 * class. What is said to the nodes of one class is the same, and is encoded once.
 *
 * A class's snapshot is built once and used for many: what has changed since it was built follows it as an ordinary delta.
 */
import type { NodeId } from '../protocol/ids.ts'
import { MESH_LOG_KEEP } from '../protocol/limits.ts'
import type { MeshPeer, MeshPosition } from '../protocol/mesh.ts'
import { count } from './counters.ts'
import type { NodeRow } from './fleet-schema.ts'
import { MapHash } from './map-hash.ts'
import type { MeshClasses } from './mesh-classes.ts'
import {
  deltaFrames,
  isMember,
  type MeshEntry,
  peerOf,
  snapshotFrames,
  wholeDeltaFrames,
} from './mesh-frames.ts'
import { MeshPlaces } from './mesh-places.ts'
import { type MeshView, type Relation, sameRules } from './mesh-view.ts'
import type { Sql } from './sql.ts'

/** Entries by which a kept snapshot may lag; building one reads every node's row. */
const SNAPSHOT_MAX_LAG = 256
/** Characters of all snapshots that are kept, of the 128 MB of an isolate. */
const SNAPSHOT_MAX_CHARACTERS = 16 * 1024 * 1024
const PRUNE_EVERY = 1024
const MEMBERS = 'mesh = 1 AND removed_at IS NULL AND quarantine IS NULL'

/** What to send, encoded: each is one session frame. */
export interface MeshUpdate {
  readonly position: MeshPosition
  /** Of the map that they lead to (crypto/mesh-hash.ts). */
  readonly hash: string
  /** The class of the node that it is for. */
  readonly audience: number
  /** The classes whose nodes that one may speak to or hear from; null: all, since there is no policy. */
  readonly sees: readonly number[] | null
  readonly frames: readonly string[]
  readonly snapshot: boolean
}

/** How much of what concerns its class a place does not have, and since when it was owed the first of it. */
export interface MapLag {
  readonly entries: number
  readonly since: number | null
}

/** Where a listener is: it has everything up to `through`, and calls that place `seq`, which is where it last heard of anything. */
export interface Listener {
  readonly audience: number
  readonly seq: number
  readonly through: number
}

interface Snapshot extends Listener {
  readonly version: number
  readonly frames: readonly string[]
}

export class MeshLog {
  readonly #sql: Sql
  readonly #epoch: string
  readonly #view: MeshView
  readonly #classes: MeshClasses
  readonly #places: MeshPlaces
  readonly #mapHash: MapHash
  readonly #snapshots = new Map<number, Snapshot>()
  #head: number

  constructor(sql: Sql, epoch: string, view: MeshView, classes: MeshClasses) {
    this.#sql = sql
    this.#epoch = epoch
    this.#view = view
    this.#classes = classes
    this.#places = new MeshPlaces(sql, view, classes)
    this.#mapHash = new MapHash({ all: () => this.#members().map(peerOf), one: (id) => this.#member(id) })
    this.#head = sql.first<{ seq: number | null }>('SELECT MAX(seq) AS seq FROM mesh_log')?.seq ?? 0
  }

  get epoch(): string {
    return this.#epoch
  }

  get head(): number {
    return this.#head
  }

  /** The newest place that concerns the class. */
  place(audience: number): number {
    return this.#places.of(audience, this.#head)
  }

  /** Call in the transaction that changes the node. @param was its class before, @param now its class after; null where it is not in the map. */
  append(node: NodeId, was: number | null, now: number | null): void {
    this.#places.changed(was, now, this.record(node, was))
  }

  /** An entry alone: whom it concerns is the caller's to say. @param node empty for what is not about one node, a policy. */
  record(node: NodeId | '', was: number | null): number {
    const seq = this.#sql.first<{ seq: number }>(
      'INSERT INTO mesh_log (node_id, was, at) VALUES (?, ?, ?) RETURNING seq',
      node,
      was,
      Date.now(),
    )?.seq
    if (seq === undefined) throw new Error('the mesh log gave no sequence number')
    this.#head = seq
    if (node === '') this.#mapHash.reset()
    else this.#mapHash.touch(node)
    if (seq % PRUNE_EVERY === 0) {
      this.#sql.run('DELETE FROM mesh_log WHERE seq <= ?', seq - MESH_LOG_KEEP)
      this.#places.touch(seq - MESH_LOG_KEEP / 2, seq)
    }
    return seq
  }

  /** Of the map of that class's nodes at its newest place. */
  viewHash(audience: number): string {
    const { now } = this.#view
    return this.#mapHash.of(now.seenBy(audience), now.rulesOf(audience))
  }

  lag(audience: number, seq: number): MapLag {
    const entries = Math.max(0, this.place(audience) - seq)
    if (entries === 0) return { entries, since: null }
    const next = this.#sql.first<{ at: number }>(
      'SELECT at FROM mesh_log WHERE seq > ? ORDER BY seq LIMIT 1',
      seq,
    )
    return { entries, since: next?.at ?? null }
  }

  /** The class is told something now, if only its newest place. */
  concern(audience: number): void {
    this.#places.moved(audience, this.#head)
  }

  /** From the place a node has to the newest of its class: a delta where the log reaches back that far, else a snapshot. */
  since(row: NodeRow, at: MeshPosition | undefined): MeshUpdate {
    const audience = row.class ?? 0
    const listener = at?.epoch === this.#epoch ? this.#listenerAt(row, at.seq) : undefined
    return (listener && this.from(listener, audience)) ?? this.#pastItsMoves(row, this.#whole(audience))
  }

  /** For all that are at one place: undefined if what was in force there is no longer known. */
  from(listener: Listener, audience: number): MeshUpdate | undefined {
    const before = this.#view.at(listener.through)
    if (before === undefined || (before.version > 0 && !this.#classes.has(listener.audience)))
      return undefined
    return this.#delta(listener, before, audience)
  }

  /** Classes have been forgotten, and with them what older entries mean. */
  forget(): void {
    this.#sql.run('DELETE FROM mesh_log WHERE seq < ?', this.#head)
  }

  /** Of which class the node was there. Undefined if the log does not say any more. */
  #listenerAt({ id, class: audience, class_since: since }: NodeRow, seq: number): Listener | undefined {
    if (seq > this.#head) return undefined
    const now = { audience: audience ?? 0, seq, through: seq }
    if (seq === this.#head) return now
    const oldest = this.#sql.first<{ seq: number | null }>('SELECT MIN(seq) AS seq FROM mesh_log')?.seq
    if (oldest === null || oldest === undefined || seq < oldest - 1) return undefined
    // Not to look through the log for each of a herd that comes back as it was.
    if (since === null || seq >= since) return now
    return { ...now, audience: this.#classAt(id, seq) ?? now.audience }
  }

  /** The class that the node was of at that place; undefined if it has not changed since, or was not in the map: then it is that into which it came. */
  #classAt(node: NodeId, seq: number): number | undefined {
    return this.#sql.first<{ was: number }>(
      'SELECT was FROM mesh_log WHERE seq > ? AND node_id = ? AND was IS NOT NULL ORDER BY seq LIMIT 1',
      seq,
      node,
    )?.was
  }

  /** The newest place of its class may lie before the node came into it, where the log would take it for one of another. */
  #pastItsMoves({ id, class_since: since }: NodeRow, update: MeshUpdate): MeshUpdate {
    const { seq } = update.position
    if (since === null || seq >= since || this.#classAt(id, seq) === undefined) return update
    const frames = [...update.frames, ...deltaFrames(this.#epoch, seq, this.#head, [])]
    return { ...update, position: { epoch: this.#epoch, seq: this.#head }, frames }
  }

  #update(audience: number, seq: number, frames: readonly string[], snapshot: boolean): MeshUpdate {
    const sees = this.#view.now.seenBy(audience)
    const position = { epoch: this.#epoch, seq }
    const hash = this.viewHash(audience)
    return { position, hash, audience, sees: sees && [...sees], frames, snapshot }
  }

  #delta({ audience: was, seq: from, through }: Listener, before: Relation, audience: number): MeshUpdate {
    const { now } = this.#view
    const isSame = was === audience && before.version === now.version
    const newest = this.place(audience)
    if (isSame && from >= newest) return this.#update(audience, from, [], false)
    count('mesh_deltas_encoded')
    const entries = this.#changed(
      through,
      // Without a policy everybody hears of everyone who went, also of one that came and went between two publications.
      (other) => before.version === 0 || (other !== null && before.sees(was, other)),
      (other) => now.sees(audience, other),
    )
    const rules = sameRules(before.rulesOf(was), now.rulesOf(audience)) ? undefined : now.rulesOf(audience)
    if (isSame && rules === undefined)
      return this.#update(audience, newest, deltaFrames(this.#epoch, from, newest, entries), false)
    // Whoever came from another class is past its own entry from here on: what lies before it is the other class's.
    const to = was === audience ? Math.max(from, newest) : this.#head
    if (!isSame) entries.push(...this.#regarded(entries, { was, before, audience, now }))
    return this.#update(audience, to, wholeDeltaFrames(this.#epoch, from, to, entries, rules), false)
  }

  /** The nodes that have changed since, if they were seen or are seen. */
  #changed(
    through: number,
    saw: (audience: number | null) => boolean,
    sees: (audience: number) => boolean,
  ): MeshEntry[] {
    const rows = this.#sql.all<NodeRow & { seq: number; was: number | null }>(
      `SELECT n.*, l.seq, f.was FROM
       (SELECT node_id, MIN(seq) AS first, MAX(seq) AS seq FROM mesh_log WHERE seq > ? GROUP BY node_id) l
       JOIN mesh_log f ON f.seq = l.first JOIN nodes n ON n.id = l.node_id ORDER BY l.seq`,
      through,
    )
    return rows.flatMap((row): MeshEntry[] => {
      if (isMember(row) && sees(row.class ?? 0)) return [{ seq: row.seq, peer: peerOf(row) }]
      return saw(row.was) ? [{ seq: row.seq, peer: row.id }] : []
    })
  }

  /** The nodes that have not changed, but are seen now and were not, or the other way round. */
  #regarded(
    entries: readonly MeshEntry[],
    { was, before, audience, now }: { was: number; before: Relation; audience: number; now: Relation },
  ): MeshEntry[] {
    const told = new Set(entries.map(({ peer }) => (typeof peer === 'string' ? peer : peer.id)))
    return this.#membersBy((other) => before.sees(was, other) !== now.sees(audience, other))
      .filter(({ id }) => !told.has(id))
      .map((row) => ({ seq: 0, peer: now.sees(audience, row.class ?? 0) ? peerOf(row) : row.id }))
  }

  #membersBy(wanted: (audience: number) => boolean): NodeRow[] {
    return this.#classes.ids
      .filter(wanted)
      .flatMap((id) => this.#sql.all<NodeRow>(`SELECT * FROM nodes WHERE class = ? AND ${MEMBERS}`, id))
  }

  #members(): NodeRow[] {
    return this.#sql.all<NodeRow>(`SELECT * FROM nodes WHERE ${MEMBERS} ORDER BY id`)
  }

  #member(id: NodeId): MeshPeer | undefined {
    const row = this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE id = ?', id)
    return row && isMember(row) ? peerOf(row) : undefined
  }

  #whole(audience: number): MeshUpdate {
    const { version } = this.#view.now
    let kept = this.#snapshots.get(audience)
    if (kept === undefined || kept.version !== version || this.#head - kept.through > SNAPSHOT_MAX_LAG)
      kept = this.#build(audience)
    const rest = this.from(kept, audience)
    if (rest === undefined) throw new Error('a snapshot is older than the policies that are known')
    return this.#update(audience, rest.position.seq, [...kept.frames, ...rest.frames], true)
  }

  #build(audience: number): Snapshot {
    const { now } = this.#view
    const seen = now.seenBy(audience)
    const rows = seen === null ? this.#members() : this.#membersBy((other) => seen.has(other))
    count('mesh_snapshots_built')
    const seq = this.place(audience)
    const frames = snapshotFrames(this.#epoch, seq, rows.map(peerOf), now.rulesOf(audience))
    const snapshot = { audience, seq, through: this.#head, version: now.version, frames }
    this.#snapshots.delete(audience)
    this.#snapshots.set(audience, snapshot)
    this.#forgetSnapshots()
    return snapshot
  }

  /** The oldest first, until what is kept fits; the newest in any case. */
  #forgetSnapshots(): void {
    const sizeOf = ({ frames }: Snapshot): number => frames.reduce((sum, { length }) => sum + length, 0)
    let size = [...this.#snapshots.values()].reduce((sum, snapshot) => sum + sizeOf(snapshot), 0)
    for (const [audience, snapshot] of this.#snapshots) {
      if (size <= SNAPSHOT_MAX_CHARACTERS || this.#snapshots.size === 1) return
      size -= sizeOf(snapshot)
      this.#snapshots.delete(audience)
    }
  }
}
