/**
 * The audit trail: append-only, one row an entry, in the order of the appends. Whoever acts appends first and waits; the object's output
 * gate holds the answer back until the rows are durable, and all appends that arrive together are committed together.
 */
import { DurableObject } from 'cloudflare:workers'
import type { AuditEvent, AuditItem } from '../protocol/audit.ts'
import { ChangeStamps } from './change-stamps.ts'
import { readCounters } from './counters.ts'
import type { Env } from './env.ts'
import { type Migration, Sql } from './sql.ts'

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
  {
    id: 2,
    sql: `
      ALTER TABLE entries ADD COLUMN detail TEXT;
      CREATE TABLE intents (entry INTEGER PRIMARY KEY, target TEXT NOT NULL, at INTEGER NOT NULL);
    `,
  },
]

interface EntryRow extends Record<string, string | number | null> {
  seq: number
  at: number
  actor: string
  action: string
  target: string
  outcome: AuditItem['outcome']
  reason: string
  request_id: string
  detail: string | null
}

export class AuditLog extends DurableObject<Env> {
  readonly #sql: Sql
  readonly #stamps = new ChangeStamps()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = new Sql(ctx.storage, MIGRATIONS)
    for (const { target } of this.#sql.all<{ target: string }>('SELECT target FROM intents'))
      this.#stamps.opened(target)
  }

  /** Resolves once the entries are durable. */
  append(events: readonly AuditEvent[]): { first: number; stamps: (string | null)[] } {
    const first = this.#sql.transaction(() => this.#append(events))
    return { first, stamps: events.map(({ target }) => this.#stamps.of(target)) }
  }

  /** Appends, and leaves the outcome open until it is settled. */
  begin(event: AuditEvent): { entry: number } {
    const entry = this.#sql.transaction(() => {
      const index = this.#append([event])
      this.#sql.run(
        'INSERT INTO intents (entry, target, at) VALUES (?, ?, ?)',
        index,
        event.target,
        Date.now(),
      )
      return index
    })
    this.#stamps.opened(event.target)
    return { entry }
  }

  /** Idempotent. @param outcome appended, where there is something to say. */
  settle(entry: number, outcome?: AuditEvent): void {
    const target = this.#sql.transaction(() => {
      const [open] = this.#sql.all<{ target: string }>(
        'DELETE FROM intents WHERE entry = ? RETURNING target',
        entry,
      )
      if (open !== undefined && outcome !== undefined) this.#append([outcome])
      return open?.target
    })
    if (target !== undefined) this.#stamps.settled(target)
  }

  /** Those begun before that time. */
  openIntents(before: number): { entry: number; event: AuditEvent }[] {
    const rows = this.#sql.all<EntryRow>(
      'SELECT e.* FROM intents i JOIN entries e ON e.seq = i.entry + 1 WHERE i.at <= ? ORDER BY e.seq',
      before,
    )
    return rows.map((row) => ({ entry: row.seq - 1, event: eventOf(row) }))
  }

  /** Newest first; `before` is the sequence number after the page. */
  list(before: number | null, limit: number): AuditItem[] {
    const rows = this.#sql.all<EntryRow>(
      'SELECT * FROM entries WHERE seq <= ? ORDER BY seq DESC LIMIT ?',
      before ?? Number.MAX_SAFE_INTEGER,
      limit,
    )
    return rows.map(itemOf)
  }

  #append(events: readonly AuditEvent[]): number {
    const at = Date.now()
    const seqs = events.map(({ actor, action, target, outcome, reason, requestId, detail }) => {
      const [row] = this.#sql.all<{ seq: number }>(
        `INSERT INTO entries (at, actor, action, target, outcome, reason, request_id, detail)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq`,
        at,
        actor,
        action,
        target,
        outcome,
        reason,
        requestId,
        detail === undefined ? null : JSON.stringify(detail),
      )
      return row?.seq ?? 0
    })
    return (seqs[0] ?? 1) - 1
  }

  counters() {
    return readCounters()
  }
}

const itemOf = (row: EntryRow): AuditItem => ({
  ...eventOf(row),
  seq: row.seq - 1,
  at: new Date(row.at).toISOString(),
})

const eventOf = ({ actor, action, target, outcome, reason, request_id, detail }: EntryRow): AuditEvent => ({
  actor,
  action,
  target,
  outcome,
  reason,
  requestId: request_id,
  ...(detail !== null && { detail: JSON.parse(detail) as Record<string, string> }),
})
