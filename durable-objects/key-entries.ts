/**
 * Nodes that enrolled with the first release have no audit entry that says their keys, others got another name than theirs says, or had one that
 * is archived by now, which nobody who seals to them could ask for: they are given one, some at a time.
 */
import type { AuditEvent } from '../protocol/audit.ts'
import { nodeKeyDetail } from '../protocol/node-key-entry.ts'
import type { NodeRow } from './fleet-schema.ts'
import type { Sql } from './sql.ts'

const AT_ONCE = 100

export class KeyEntries {
  readonly #sql: Sql
  readonly #append: (events: readonly AuditEvent[]) => Promise<{ readonly first: number }>
  /** Those that enrol from now on bring theirs along. */
  #isComplete = false

  constructor(sql: Sql, append: (events: readonly AuditEvent[]) => Promise<{ readonly first: number }>) {
    this.#sql = sql
    this.#append = append
  }

  /** Entries below this have left the gateway. */
  async renew(below: number): Promise<void> {
    this.#sql.run('UPDATE nodes SET key_entry = NULL WHERE key_entry < ?', below)
    await this.missing()
  }

  /** A node has none now. What fails here is done by the sweep. */
  async missing(): Promise<void> {
    this.#isComplete = false
    await this.addMissing()
  }

  async addMissing(): Promise<void> {
    if (this.#isComplete) return
    const rows = this.#sql.all<NodeRow>(
      'SELECT * FROM nodes WHERE key_entry IS NULL AND removed_at IS NULL AND external = 0 LIMIT ?',
      AT_ONCE,
    )
    this.#isComplete = rows.length === 0
    if (rows.length === 0) return
    const { first } = await this.#append(rows.map(keyEvent))
    this.#sql.transaction(() => {
      rows.forEach(({ id, identity_key, wg_key }, index) => {
        // Unless it has changed a key meanwhile, which has an entry of its own.
        this.#sql.run(
          'UPDATE nodes SET key_entry = ? WHERE id = ? AND identity_key = ? AND wg_key = ? AND key_entry IS NULL',
          first + index,
          id,
          identity_key,
          wg_key,
        )
      })
    })
  }
}

const keyEvent = ({ id, name, identity_key, sealing_key, wg_key }: NodeRow): AuditEvent => ({
  actor: 'gateway',
  action: 'node.keys',
  target: `node:${id}`,
  outcome: 'allowed',
  reason: 'no entry at the gateway says them',
  requestId: '',
  detail: nodeKeyDetail({ id, identity: identity_key, sealing: sealing_key, wireguard: wg_key }, name),
})
