/** The stores as a worker that may be lost sees them: each write can fail before it takes effect, after, or take effect when all is over. */
import type { Keyring } from '../../../crypto/keyring.ts'
import { findSecrets } from '../../../secrets/rows.ts'
import type { SecretStores, Trail } from '../../../secrets/stores.ts'
import type { Lane } from './lanes.ts'

export interface Fault {
  /** Which write of the sequence, from zero. */
  readonly at: number
  /** `late`: the caller is told that it failed, and it happens later on its own. */
  readonly how: 'before' | 'after' | 'late'
  /** The worker is lost with it, and everything that runs in its isolate; otherwise it sees an error. */
  readonly crash: boolean
}

export const CONNECTION_LOST = 'the connection was lost'

/** What can fail. */
export type Write = 'append' | 'begin' | 'settle' | 'd1' | 'kv'

/** Counts the writes of a sequence, and makes those fail that are to. */
export class Faults {
  readonly #planned: ReadonlyMap<number, Fault>
  readonly #late: (() => Promise<unknown>)[] = []
  writes = 0
  injected = 0
  crashes = 0

  constructor(planned: readonly Fault[]) {
    this.#planned = new Map(planned.map((fault) => [fault.at, fault]))
  }

  next(): Fault | undefined {
    const fault = this.#planned.get(this.writes++)
    if (fault !== undefined) this.injected += 1
    if (fault?.crash) this.crashes += 1
    return fault
  }

  postpone(effect: () => Promise<unknown>): void {
    this.#late.push(effect)
  }

  /** What was under way arrives at last. It may be too late for it. */
  async arrive(share = 1): Promise<void> {
    const effects = this.#late.splice(0, Math.floor(this.#late.length * share))
    for (const effect of effects) await effect().catch(() => undefined)
  }
}

export interface Worker {
  readonly lane: Lane
  readonly faults: Faults
  readonly keyring: Keyring
  /** Told of each fault that met this work. */
  faulted(write: Write): void
  /** The isolate is lost, and this work with it. */
  crash(): void
  /** A batch of D1 has taken effect. */
  committed(): Promise<void>
  later(work: Promise<unknown>): void
}

export interface Stores {
  readonly db: D1Database
  readonly trail: Trail
  readonly cache: KVNamespace
  now(): number
}

export function faultyStores(stores: Stores, worker: Worker): SecretStores {
  const { db, trail, cache } = stores
  const { lane, faults } = worker

  async function read<T>(effect: () => Promise<T>): Promise<T> {
    await lane.turn()
    const result = await effect()
    await lane.turn()
    return result
  }

  async function write<T>(what: Write, effect: () => Promise<T>): Promise<T> {
    // Removals from the cache go out side by side, and nobody depends on when: they are no point at which others run.
    const turn = what === 'kv' ? async () => undefined : () => lane.turn()
    await turn()
    const fault = faults.next()
    if (fault === undefined) {
      const result = await effect()
      await turn()
      return result
    }
    worker.faulted(what)
    if (fault.how === 'after') await effect().catch(() => undefined)
    if (fault.how === 'late') faults.postpone(effect)
    if (!fault.crash) throw new Error(CONNECTION_LOST)
    worker.crash()
    return new Promise(() => undefined)
  }

  const prepared = (statement: D1PreparedStatement): WatchedStatement => ({
    statement,
    bind: (...values) => prepared(statement.bind(...values)),
    first: () => read(() => statement.first()),
    all: () => read(() => statement.all()),
    run: () => write('d1', () => statement.run()),
  })

  return {
    db: {
      prepare: (query: string) => prepared(db.prepare(query)),
      batch: (statements: readonly WatchedStatement[]) =>
        write('d1', async () => {
          const results = await db.batch(statements.map(({ statement }) => statement))
          await worker.committed()
          return results
        }),
    } as unknown as D1Database,
    lookUp: (wanted) => read(() => findSecrets(db, wanted)),
    trail: {
      append: (events) => write('append', () => trail.append(events)),
      begin: (event) => write('begin', () => trail.begin(event)),
      settle: (entry, outcome) => write('settle', () => trail.settle(entry, outcome)),
      openIntents: (before) => read(() => trail.openIntents(before)),
    },
    cache: {
      get: (key: string, type: 'arrayBuffer') => write('kv', () => cache.get(key, type)),
      put: (key: string, value: Uint8Array) => write('kv', () => cache.put(key, value)),
      delete: (key: string) => write('kv', () => cache.delete(key)),
    } as unknown as KVNamespace,
    keyring: worker.keyring,
    now: stores.now,
    later: worker.later,
  }
}

interface WatchedStatement {
  readonly statement: D1PreparedStatement
  bind(...values: unknown[]): WatchedStatement
  first(): Promise<unknown>
  all(): Promise<unknown>
  run(): Promise<unknown>
}

/** `stale` goes on showing what was removed, as a far away place of KV does; `bad` answers with other bytes. */
export type CacheKind = 'good' | 'stale' | 'bad'

export function cacheInMemory(kind: CacheKind): KVNamespace {
  const kept = new Map<string, ArrayBuffer>()
  return {
    get: async (key: string) => kept.get(key) ?? null,
    put: async (key: string, value: Uint8Array) => {
      const bytes = value.slice()
      if (kind === 'bad') bytes.reverse()
      kept.set(key, bytes.buffer)
    },
    delete: async (key: string) => {
      if (kind !== 'stale') kept.delete(key)
    },
  } as unknown as KVNamespace
}
