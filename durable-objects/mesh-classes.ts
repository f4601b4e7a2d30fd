/** The classes that policies have made of the nodes, by the selectors that hold for them. */
import { MAX_MESH_CLASSES } from '../protocol/limits.ts'
import type { Membership } from '../protocol/mesh-policy-compile.ts'
import type { Sql } from './sql.ts'

interface MeshClass {
  readonly seq: number
  readonly members: Membership
}

/** No part of a selector. */
const SEPARATOR = ' '

export class MeshClasses {
  readonly #sql: Sql
  #known: ReadonlyMap<number, MeshClass>

  constructor(sql: Sql) {
    this.#sql = sql
    this.#known = this.#load()
  }

  get ids(): number[] {
    return [...this.#known.keys()]
  }

  has(id: number): boolean {
    return this.#known.has(id)
  }

  /** Place of the log from which there can be nodes of it. */
  beginningOf(id: number): number {
    return this.#known.get(id)?.seq ?? 0
  }

  /** Those there were at that place, by their numbers. */
  upTo(seq: number): Map<number, Membership> {
    const there = [...this.#known].filter(([, one]) => one.seq <= seq)
    return new Map(there.map(([id, { members }]) => [id, members]))
  }

  /** The class of these members, a new one if there is none. @param seq the place of the log from which it has nodes. */
  of(membership: Membership, seq: number): number {
    const members = [...membership].join(SEPARATOR)
    const found = this.#sql.first<{ id: number }>('SELECT id FROM mesh_classes WHERE members = ?', members)
    if (found !== undefined) return found.id
    // Whoever no selector speaks of is 0, which is not written on the wire.
    const id = members === '' ? 0 : Math.max(0, ...this.#known.keys()) + 1
    this.#sql.run('INSERT INTO mesh_classes (id, seq, members) VALUES (?, ?, ?)', id, seq, members)
    this.#known = new Map([...this.#known, [id, { seq, members: membership }]])
    return id
  }

  /** Those without a node go, once they are many; the highest number stays, because the next one is counted from it. @returns whether any went. */
  prune(): boolean {
    if (this.#known.size <= 2 * MAX_MESH_CLASSES) return false
    this.#sql.run(
      `DELETE FROM mesh_classes WHERE id <> 0 AND id <> (SELECT MAX(id) FROM mesh_classes)
       AND id NOT IN (SELECT class FROM nodes WHERE class IS NOT NULL)`,
    )
    this.#known = this.#load()
    return true
  }

  #load(): Map<number, MeshClass> {
    const rows = this.#sql.all<{ id: number; seq: number; members: string }>(
      'SELECT * FROM mesh_classes ORDER BY id',
    )
    return new Map(
      rows.map(({ id, seq, members }) => [
        id,
        { seq, members: new Set(members === '' ? [] : members.split(SEPARATOR)) },
      ]),
    )
  }
}
