/**
 * The audit trail: append-only, one row an entry, in the order of the appends. Whoever acts appends first and waits; the object's output
 * gate holds the answer back until the rows are durable, and all appends that arrive together are committed together.
 */
import { DurableObject } from 'cloudflare:workers'
import type { AuditItem } from '../protocol/http.ts'
import { readCounters } from './counters.ts'
import type { Env } from './env.ts'
import { type Migration, Sql } from './sql.ts'

export type AuditEvent = Omit<AuditItem, 'seq' | 'at'>

const MIGRATIONS: readonly Migration[] = [
  {
    id: 1,
    sql: `CREATE TABLE entries (
      seq INTEGER PRIMARY KEY,
      at INTEGER NOT NULL,
      actor TEXT NOT NULL,
      action TEXT NOT NULL,
      target TEXT NOT NULL,
      outcome TEXT NOT NULL,
      reason TEXT NOT NULL,
      request_id TEXT NOT NULL
    )`,
  },
]

interface EntryRow extends Record<string, string | number> {
  seq: number
  at: number
  actor: string
  action: string
  target: string
  outcome: AuditItem['outcome']
  reason: string
  request_id: string
}

export class AuditLog extends DurableObject<Env> {
  readonly #sql: Sql

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = new Sql(ctx.storage, MIGRATIONS)
  }

  /** Resolves once the entries are durable. */
  append(events: readonly AuditEvent[]): void {
    const at = Date.now()
    this.#sql.transaction(() => {
      for (const { actor, action, target, outcome, reason, requestId } of events) {
        this.#sql.run(
          'INSERT INTO entries (at, actor, action, target, outcome, reason, request_id) VALUES (?, ?, ?, ?, ?, ?, ?)',
          at,
          actor,
          action,
          target,
          outcome,
          reason,
          requestId,
        )
      }
    })
  }

  /** Newest first; `before` is the sequence number after the page. */
  list(before: number | null, limit: number): AuditItem[] {
    const rows = this.#sql.all<EntryRow>(
      'SELECT * FROM entries WHERE seq < ? ORDER BY seq DESC LIMIT ?',
      before ?? Number.MAX_SAFE_INTEGER,
      limit,
    )
    return rows.map(({ request_id, at, ...row }) => ({
      ...row,
      at: new Date(at).toISOString(),
      requestId: request_id,
    }))
  }

  counters() {
    return readCounters()
  }
}
