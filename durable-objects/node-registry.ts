/** Who is enrolled: the ways to look nodes up. Devices without an agent (external-peers.ts) are none, and are found by no look-up here. */
import { nodeIdOf } from '../crypto/node-id.ts'
import type { FleetId, IdentityKey, NodeId, NodeName } from '../protocol/ids.ts'
import { mightRead, type StoredPolicy } from '../protocol/secret-policy.ts'
import type { NodeRow } from './fleet-schema.ts'
import { type NodeRecord, recordOf } from './node-record.ts'
import type { Sql } from './sql.ts'

export class NodeRegistry {
  readonly #sql: Sql
  readonly #fleet: FleetId

  constructor(sql: Sql, fleet: FleetId) {
    this.#sql = sql
    this.#fleet = fleet
  }

  /** Also of one that was removed. */
  row(id: NodeId): NodeRow | undefined {
    return this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE id = ? AND external = 0', id)
  }

  /** Also of one that is held, but not of one that was removed. */
  memberRow(id: NodeId): NodeRow | undefined {
    const row = this.row(id)
    return row?.removed_at === null ? row : undefined
  }

  /** Also one that was removed. */
  get(id: NodeId): NodeRecord | undefined {
    const row = this.row(id)
    return row && this.#record(row)
  }

  /** The node whose identity key this is, or was at its enrolment. */
  async ofKey(identity: IdentityKey): Promise<NodeRecord | undefined> {
    const row = this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE identity_key = ?', identity)
    return row === undefined ? this.get(await nodeIdOf(identity)) : this.#record(row)
  }

  byName(name: NodeName): NodeRecord | undefined {
    const row = this.#sql.first<NodeRow>(
      'SELECT * FROM nodes WHERE name = ? AND removed_at IS NULL AND external = 0',
      name,
    )
    return row && this.#record(row)
  }

  /** In order of name; `after` is the last name of the page before. */
  list(after: string, limit: number): NodeRecord[] {
    const rows = this.#sql.all<NodeRow>(
      'SELECT * FROM nodes WHERE removed_at IS NULL AND external = 0 AND name > ? ORDER BY name LIMIT ?',
      after,
      limit,
    )
    return rows.map((row) => this.#record(row))
  }

  /** The nodes that may read a secret of this policy, whichever of their jobs asks. */
  readers(policy: StoredPolicy): NodeRecord[] {
    const now = Date.now()
    const rows = this.#sql.all<NodeRow>(
      'SELECT * FROM nodes WHERE removed_at IS NULL AND quarantine IS NULL AND external = 0 ORDER BY name',
    )
    return rows.map((row) => this.#record(row)).filter(mightRead(policy, now))
  }

  #record(row: NodeRow): NodeRecord {
    return recordOf(row, this.#fleet)
  }
}
