/** What the store runs on: the SQLite of one Durable Object for its thousands of sequences, or the gateway's own bindings for some. */
import { evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { AuditLog } from '../../../durable-objects/audit-log.ts'
import { AUDIT_OBJECT, callObject } from '../../../durable-objects/call-object.ts'
import { readConfig } from '../../../durable-objects/config.ts'
import { secretStores } from '../../../durable-objects/secret-stores.ts'
import type { AuditItem } from '../../../protocol/audit.ts'
import type { Trail } from '../../../secrets/stores.ts'
import { d1OnSqlite } from './d1-on-sqlite.ts'

export interface World {
  readonly db: D1Database
  readonly trail: Trail
  /** The trail's object ends, and another begins with what was stored. */
  restartTrail(): Promise<void>
  /** The entries from that index on. */
  entries(from: number): Promise<AuditItem[]>
  /** Index of the entry that comes next. */
  trailSize(): Promise<number>
}

/** Both databases in the object's one, since nothing of theirs has the same name. */
export function worldOnSqlite(state: DurableObjectState): World {
  for (const { queries } of env.TEST_MIGRATIONS) for (const query of queries) state.storage.sql.exec(query)
  // No disk is waited for: a crash is the model's, and nothing here outlives the process.
  state.storage.sync = async () => undefined
  let log = new AuditLog(state, env)
  return {
    db: d1OnSqlite(state.storage),
    trail: {
      append: async (events) => log.append(events),
      begin: async (event) => log.begin(event).entry,
      settle: async (entry, outcome) => log.settle(entry, outcome),
      openIntents: async (before) => log.openIntents(before),
    },
    restartTrail: async () => {
      log = new AuditLog(state, env)
    },
    entries: (from) => pages(from, async (page) => log.list(page)),
    trailSize: async () => log.list({ limit: 1 }).size,
  }
}

export async function worldOfBindings(): Promise<World> {
  const { db, trail } = secretStores(env, await readConfig(env), () => undefined)
  const list: Listing = (page) => callObject(env.AUDIT_LOG, AUDIT_OBJECT, (log) => log.list(page))
  return {
    db,
    trail,
    restartTrail: async () => {
      // One that was restarted a moment ago does not run before it is asked for something.
      await trail.openIntents(0)
      await evictDurableObject(env.AUDIT_LOG.getByName(AUDIT_OBJECT))
    },
    entries: (from) => pages(from, list),
    trailSize: async () => (await list({ limit: 1 })).size,
  }
}

type Listing = (page: Parameters<AuditLog['list']>[0]) => Promise<Awaited<ReturnType<AuditLog['list']>>>

async function pages(from: number, list: Listing): Promise<AuditItem[]> {
  const items: AuditItem[] = []
  for (let next: number | undefined = from; next !== undefined; ) {
    const page = await list({ order: 'oldest', from: next, limit: 1000 })
    items.push(...page.items)
    next = page.next
  }
  return items
}
