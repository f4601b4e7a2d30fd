/**
 * The newest place of each class in the change log: that of the last change which concerned it. A node is never told of a change that
 * concerns others, so its place stands still meanwhile.
 *
 * Kept in memory only, since a row for each class and change would cost more than it saves: after the object was gone, found again from the log.
 */
import type { NodeId } from '../protocol/ids.ts'
import type { MeshClasses } from './mesh-classes.ts'
import { type MeshView, type Relation, sameRules } from './mesh-view.ts'
import type { Sql } from './sql.ts'

const ROWS_AT_ONCE = 512

interface LogRow extends Record<string, string | number | null> {
  seq: number
  node_id: NodeId
  was: number | null
  now: number | null
}

export class MeshPlaces {
  readonly #sql: Sql
  readonly #view: MeshView
  readonly #classes: MeshClasses
  readonly #known = new Map<number, number>()

  constructor(sql: Sql, view: MeshView, classes: MeshClasses) {
    this.#sql = sql
    this.#view = view
    this.#classes = classes
  }

  /**
   * Before a policy everything concerns everybody. No class has a place before its beginning: what it saw there would be nothing.
   * @param head the newest place of the log.
   */
  of(audience: number, head: number): number {
    if (this.#view.now.version === 0) return head
    if (!this.#known.has(audience)) this.#search(head)
    return Math.max(this.#known.get(audience) ?? head, this.#classes.beginningOf(audience))
  }

  /** A node that was of the first class is of the second now, or not in the map: null. */
  changed(was: number | null, now: number | null, seq: number): void {
    const { version, sees } = this.#view.now
    if (version === 0) return
    for (const audience of this.#classes.ids)
      if ((was !== null && sees(audience, was)) || (now !== null && sees(audience, now)))
        this.#known.set(audience, seq)
  }

  moved(audience: number, seq: number): void {
    this.#known.set(audience, seq)
  }

  /** Classes which nothing has concerned for so long that the log may end after their place: told that they are as new as it. */
  touch(olderThan: number, head: number): void {
    if (this.#view.now.version === 0) return
    for (const audience of this.#classes.ids)
      if (this.of(audience, head) < olderThan) this.#known.set(audience, head)
  }

  /** From the end of the log, until there is a place for each class. */
  #search(head: number): void {
    const missing = new Set(this.#classes.ids.filter((id) => !this.#known.has(id)))
    const later = new Map<NodeId, number | null>()
    let relation = this.#view.now
    let end = head + 1
    const place = (seq: number, concerns: (audience: number) => boolean): void => {
      for (const audience of [...missing].filter(concerns)) {
        this.#known.set(audience, seq)
        missing.delete(audience)
      }
    }
    while (missing.size > 0) {
      const rows = this.#sql.all<LogRow>(
        `SELECT l.seq, l.node_id, l.was,
         CASE WHEN n.mesh = 1 AND n.removed_at IS NULL AND n.quarantine IS NULL THEN coalesce(n.class, 0) END AS now
         FROM mesh_log l LEFT JOIN nodes n ON n.id = l.node_id WHERE l.seq < ? ORDER BY l.seq DESC LIMIT ?`,
        end,
        ROWS_AT_ONCE,
      )
      for (const { seq, node_id, was, now: newest } of rows) {
        end = seq
        const now = later.has(node_id) ? (later.get(node_id) ?? null) : newest
        later.set(node_id, was)
        const { sees } = relation
        place(seq, (id) => (was !== null && sees(id, was)) || (now !== null && sees(id, now)))
        if (!this.#view.beginsAt(seq)) continue
        // Whoever this policy concerned has this place at least; whom it did not lived on as before.
        const [before, from] = [this.#view.at(seq - 1), this.#view.at(seq) ?? relation]
        place(seq, (id) => before === undefined || isConcerned(id, before, from))
        relation = before ?? relation
      }
      if (rows.length < ROWS_AT_ONCE) place(Math.max(0, end - 1), () => true)
    }
  }
}

/** Whether anything is different for a class that lives by another policy from now on. */
export function isConcerned(audience: number, before: Relation, now: Relation): boolean {
  if (!sameRules(before.rulesOf(audience), now.rulesOf(audience))) return true
  const [had, has] = [before.seenBy(audience), now.seenBy(audience)]
  if (had === null || has === null) return had !== has
  return had.size !== has.size || [...had].some((id) => !has.has(id))
}
