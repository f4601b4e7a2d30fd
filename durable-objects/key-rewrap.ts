/**
 * Moves every stored secret to the active master key, in the background: a few at each alarm. The next alarm is set before they are begun,
 * so that whatever ends this object meanwhile only makes it go on later. What is left is asked of D1, which is the truth; kept here is only
 * what to show. A version can be read under its old key until the moment it can be read under the new one.
 */
import { DurableObject } from 'cloudflare:workers'
import { type Refusal, refusal } from '../protocol/errors.ts'
import { REWRAP_BATCH, REWRAP_RETRY_MS } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { KeyringReply } from '../protocol/secrets.ts'
import { keyUsage, versionsUnderOtherKeys } from '../secrets/rows.ts'
import { rewrap } from '../secrets/write.ts'
import { readConfig } from './config.ts'
import type { Env } from './env.ts'
import { secretStores } from './secret-stores.ts'
import { type Migration, Sql } from './sql.ts'

const MIGRATIONS: readonly Migration[] = [
  {
    id: 1,
    sql: `CREATE TABLE rewrap (
      one INTEGER PRIMARY KEY CHECK (one = 1),
      state TEXT NOT NULL,
      actor TEXT NOT NULL,
      request_id TEXT NOT NULL,
      done INTEGER NOT NULL,
      failed INTEGER NOT NULL DEFAULT 0,
      at_name TEXT NOT NULL DEFAULT '',
      at_version INTEGER NOT NULL DEFAULT 0,
      started_at INTEGER NOT NULL,
      finished_at INTEGER,
      problem TEXT
    )`,
  },
]

interface RewrapRow extends Record<string, string | number | null> {
  state: 'running' | 'failed' | 'idle'
  actor: string
  request_id: string
  done: number
  failed: number
  /** The last version that was looked at: one that cannot be moved must not hold up those behind it. */
  at_name: string
  at_version: number
  started_at: number
  finished_at: number | null
  problem: string | null
}

export class KeyRewrap extends DurableObject<Env> {
  readonly #sql: Sql

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = new Sql(ctx.storage, MIGRATIONS)
  }

  /** Begins, or begins again after a failure. */
  async start(actor: string, requestId: string): Promise<Result<undefined, Refusal>> {
    if (this.#row?.state === 'running') return err(refusal('E_KEY_IN_REWRAP'))
    this.#sql.run(
      `INSERT OR REPLACE INTO rewrap (one, state, actor, request_id, done, started_at) VALUES (1, 'running', ?, ?, 0, ?)`,
      actor,
      requestId,
      Date.now(),
    )
    await this.ctx.storage.setAlarm(Date.now())
    return ok(undefined)
  }

  async status(): Promise<KeyringReply> {
    const { keyring } = await readConfig(this.env)
    const usage = await keyUsage(this.env.DB)
    const row = this.#row
    const left = [...usage].reduce((sum, [key, count]) => (key === keyring.active ? sum : sum + count), 0)
    return {
      active: keyring.active,
      versions: keyring.versions,
      usage: Object.fromEntries([...usage].map(([key, count]) => [String(key), count])),
      rewrap: {
        state: row?.state ?? 'idle',
        done: row?.done ?? 0,
        left,
        startedAt: row === undefined ? null : new Date(row.started_at).toISOString(),
        finishedAt: row?.finished_at == null ? null : new Date(row.finished_at).toISOString(),
        ...(row?.problem != null && { problem: row.problem }),
      },
    }
  }

  override async alarm(): Promise<void> {
    const row = this.#row
    if (row?.state !== 'running') return
    await this.ctx.storage.setAlarm(Date.now() + REWRAP_RETRY_MS)
    const stores = secretStores(this.env, await readConfig(this.env), (work) => this.ctx.waitUntil(work))
    const actor = { actor: row.actor, requestId: row.request_id }
    const after = { name: row.at_name, version: row.at_version }
    const batch = await versionsUnderOtherKeys(this.env.DB, stores.keyring.active, after, REWRAP_BATCH)
    for (const { name, version } of batch) {
      const done = await rewrap(stores, actor, name, version)
      const problem = done.ok ? null : `${name} version ${version}: ${done.error.code}`
      this.#sql.run(
        `UPDATE rewrap SET at_name = ?, at_version = ?, done = done + ?, failed = failed + ?, problem = COALESCE(problem, ?)`,
        name,
        version,
        done.ok ? 1 : 0,
        done.ok ? 0 : 1,
        problem,
      )
    }
    if (batch.length === REWRAP_BATCH) return this.ctx.storage.setAlarm(Date.now())
    this.#sql.run(
      `UPDATE rewrap SET state = CASE WHEN failed > 0 THEN 'failed' ELSE 'idle' END, finished_at = ?`,
      Date.now(),
    )
    await this.ctx.storage.deleteAlarm()
  }

  get #row(): RewrapRow | undefined {
    return this.#sql.first<RewrapRow>('SELECT * FROM rewrap')
  }
}
