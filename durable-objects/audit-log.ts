/**
 * The audit trail: append-only, and a Merkle tree, so that whoever keeps one of its checkpoints can prove what was changed behind it
 * (docs/audit-log.md). Whoever acts appends first and waits; the object's output gate holds the answer back until the rows are durable, and
 * appends that arrive together are made durable together.
 */
import { DurableObject } from 'cloudflare:workers'
import { equalBytes } from '@noble/ciphers/utils.js'
import { fromBase64, toBase64 } from '../crypto/bytes.ts'
import { type Bundle, TILE_WIDTH, type Tile } from '../crypto/merkle-tiles.ts'
import type { ProofId } from '../crypto/request-proof.ts'
import type { AuditArchiveBody, AuditContinuationReply, AuditEvent, AuditFilter } from '../protocol/audit.ts'
import { encodeEntry } from '../protocol/audit-entry.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import { AUDIT_REMOVE_BATCH } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { CheckpointSigner } from './audit-checkpoint.ts'
import {
  type AuditPage,
  entryBundle,
  entryBytes,
  type FoundEntries,
  findEntries,
  storedEntry,
} from './audit-entries.ts'
import { AUDIT_MIGRATIONS } from './audit-schema.ts'
import { AuditTree } from './audit-tree.ts'
import { ChangeStamps } from './change-stamps.ts'
import { readCounters } from './counters.ts'
import type { Env } from './env.ts'
import { GroupCommit } from './group-commit.ts'
import { Sql } from './sql.ts'
import { UsedProofs } from './used-proofs.ts'

export interface OpenIntent {
  readonly entry: number
  readonly target: string
  readonly at: number
  readonly event: AuditEvent
}

export interface Appended {
  /** Index of the first of them. */
  readonly first: number
  readonly stamps: (string | null)[]
}

/** Of one request: what it appends, and the proof that is used up with it. */
export interface ProvenAppend {
  readonly events: readonly AuditEvent[]
  readonly proof: ProofId
  readonly request: string
}

interface Call {
  readonly events: readonly AuditEvent[]
  readonly entries: readonly Uint8Array[]
  /** What it uses up, in the name of which request. */
  readonly use?: Pick<ProvenAppend, 'proof' | 'request'>
}

interface IntentRow extends Record<string, string | number | ArrayBuffer> {
  entry: number
  target: string
  at: number
  bytes: ArrayBuffer
}

export class AuditLog extends DurableObject<Env> {
  readonly #sql: Sql
  readonly #stamps = new ChangeStamps()
  readonly #appends = new GroupCommit<Call, Result<Appended, Refusal>>(
    () => this.ctx.storage.sync(),
    (calls) => this.#transaction(() => calls.map((call) => this.#take(call))),
  )
  readonly #proofs: UsedProofs
  readonly #signer: CheckpointSigner
  /** Undefined while it may differ from what is stored. */
  #loaded: AuditTree | undefined

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = new Sql(ctx.storage, AUDIT_MIGRATIONS)
    this.#proofs = new UsedProofs(this.#sql)
    this.#signer = new CheckpointSigner(env)
    for (const { target } of this.#sql.all<{ target: string }>('SELECT target FROM intents'))
      this.#stamps.opened(target)
  }

  get #tree(): AuditTree {
    this.#loaded ??= AuditTree.load(this.#sql)
    return this.#loaded
  }

  /** Resolves once the entries are durable. `stamps[i]` is that of the target of event i, null while it is being changed. */
  async append(events: readonly AuditEvent[]): Promise<Appended> {
    // Here, and not when they are written: one that cannot be an entry must fail alone.
    const appended = await this.#appends.add({ events, entries: encode(events) })
    if (!appended.ok) throw new Error(`refused without a proof: ${appended.error.code}`)
    return appended.value
  }

  /** As `append`, for whoever asks with a proof: used up with these entries, or refused without them. A call may be repeated for its request. */
  async appendProven(
    events: readonly AuditEvent[],
    proof: ProofId,
    request: string,
  ): Promise<Result<Appended, Refusal>> {
    return this.#appends.add({ events, entries: encode(events), use: { proof, request } })
  }

  /**
   * Those of several requests. One that cannot be an entry is a bug of its sender, and fails them all.
   * @param appends JSON of `ProvenAppend[]`, because RPC takes longer over objects than all the rest of this does. @returns that of each result.
   */
  async appendEachProven(appends: string): Promise<string> {
    const each = (JSON.parse(appends) as readonly ProvenAppend[]).map(({ events, proof, request }) =>
      this.appendProven(events, proof, request),
    )
    return JSON.stringify((await Promise.all(each)) satisfies Result<Appended, Refusal>[])
  }

  /** Appends, and leaves the outcome open until it is settled. */
  begin(event: AuditEvent): { entry: number; stamp: null } {
    const entry = this.#transaction(() => {
      const index = this.#append(encode([event]))
      this.#sql.run(
        'INSERT INTO intents (entry, target, at) VALUES (?, ?, ?)',
        index,
        event.target,
        Date.now(),
      )
      return index
    })
    this.#stamps.opened(event.target)
    return { entry, stamp: null }
  }

  /** Idempotent. @param outcome appended, where there is something to say. */
  settle(entry: number, outcome?: AuditEvent): void {
    const target = this.#transaction(() => {
      const open = this.#sql.first<{ target: string }>(
        'DELETE FROM intents WHERE entry = ? RETURNING target',
        entry,
      )
      if (open !== undefined && outcome !== undefined) this.#append(encode([outcome]))
      return open?.target
    })
    if (target !== undefined) this.#stamps.settled(target)
  }

  /** Those begun by that time. */
  openIntents(before: number): OpenIntent[] {
    const rows = this.#sql.all<IntentRow>(
      'SELECT i.*, e.bytes FROM intents i JOIN entries e ON e.entry = i.entry WHERE i.at <= ? ORDER BY i.entry',
      before,
    )
    return rows.map(({ entry, target, at, bytes }) => {
      const { at: _, ...event } = storedEntry(entry, new Uint8Array(bytes))
      return { entry, target, at, event }
    })
  }

  list(
    page: Partial<AuditPage> & Pick<AuditPage, 'limit'>,
    filter: AuditFilter = {},
  ): FoundEntries & { size: number } {
    const { size } = this.#tree
    const { order = 'newest', limit } = page
    const from = page.from ?? (order === 'newest' ? size - 1 : 0)
    return { ...findEntries(this.#sql, filter, { from, order, limit }, size), size }
  }

  entry(index: number): Result<Uint8Array, Refusal> {
    return this.#found(entryBytes(this.#sql, index), index)
  }

  bundle({ n, width }: Bundle): Result<Uint8Array, Refusal> {
    return this.#found(entryBundle(this.#sql, n, width), n * TILE_WIDTH)
  }

  tile(tile: Tile): Result<Uint8Array, Refusal> {
    return orNotFound(this.#tree.tile(tile))
  }

  /** The newest, signed. What it says is durable before it leaves. */
  checkpoint(): Promise<string> {
    return this.#signer.checkpoint(this.#tree.head())
  }

  /** The newest checkpoint with the proof that the log of `from` entries is its beginning. */
  async continuation(from: number): Promise<AuditContinuationReply> {
    const head = this.#tree.head()
    const proof = this.#tree.consistency(from, head.size)?.map(toBase64) ?? null
    return { checkpoint: await this.#signer.checkpoint(head), proof }
  }

  inclusion(index: number, size: number): Result<string[], Refusal> {
    return orNotFound(this.#tree.inclusion(index, size)?.map(toBase64))
  }

  consistency(from: number, to: number): Result<string[], Refusal> {
    return orNotFound(this.#tree.consistency(from, to)?.map(toBase64))
  }

  /**
   * Gives up the entries of all bundles that were full at that size, for someone who has a copy; not their hashes. What is still open stays.
   * @param event tells of it, and is appended before.
   */
  async archive({ size, root }: AuditArchiveBody, event: AuditEvent): Promise<Result<number, Refusal>> {
    const head = this.#tree.headAt(size)
    const named = fromBase64(root)
    if (head === undefined || named === undefined || !equalBytes(head.root, named))
      return err(refusal('E_AUDIT_CHECKPOINT'))
    const open = this.#sql.first<{ entry: number | null }>('SELECT MIN(entry) AS entry FROM intents')?.entry
    const end = Math.min(size, open ?? size)
    const below = Math.max(this.#archivedBelow(), end - (end % TILE_WIDTH))
    this.#transaction(() => {
      this.#append(encode([{ ...event, detail: { ...event.detail, size, root, below } }]))
      this.#sql.run(
        'INSERT INTO archive (one, below) VALUES (1, ?) ON CONFLICT DO UPDATE SET below = excluded.below',
        below,
      )
    })
    await this.ctx.storage.setAlarm(Date.now())
    return ok(below)
  }

  /** Removes what was archived, some at a time: appends must not wait for all of it. */
  override async alarm(): Promise<void> {
    const removed = this.#sql.all(
      `DELETE FROM entries WHERE entry IN (SELECT entry FROM entries WHERE entry < ? ORDER BY entry LIMIT ?)
       RETURNING entry`,
      this.#archivedBelow(),
      AUDIT_REMOVE_BATCH,
    )
    if (removed.length === AUDIT_REMOVE_BATCH) await this.ctx.storage.setAlarm(Date.now())
  }

  counters() {
    return readCounters()
  }

  #take({ events, entries, use }: Call): Result<Appended, Refusal> {
    const refused = use && this.#proofs.use(use.proof, use.request, Date.now())
    if (refused !== undefined) return err(refused)
    return ok({
      first: this.#append(entries),
      stamps: events.map(({ target }) => this.#stamps.of(target)),
    })
  }

  #append(entries: readonly Uint8Array[]): number {
    const tree = this.#tree
    const first = tree.size
    for (const entry of entries) tree.append(entry)
    return first
  }

  /** What has grown in memory by what was then rolled back is forgotten. */
  #transaction<T>(work: () => T): T {
    try {
      return this.#sql.transaction(() => {
        const result = work()
        this.#loaded?.store()
        this.#proofs.store()
        return result
      })
    } catch (error) {
      this.#loaded = undefined
      this.#proofs.forget()
      throw error
    }
  }

  #archivedBelow(): number {
    return this.#sql.first<{ below: number }>('SELECT below FROM archive')?.below ?? 0
  }

  #found(bytes: Uint8Array | undefined, index: number): Result<Uint8Array, Refusal> {
    return index < this.#archivedBelow() ? err(refusal('E_AUDIT_ARCHIVED')) : orNotFound(bytes)
  }
}

const encode = (events: readonly AuditEvent[]): Uint8Array[] => {
  const at = Date.now()
  return events.map((event) => encodeEntry({ ...event, at }))
}

const orNotFound = <T>(found: T | undefined): Result<T, Refusal> =>
  found === undefined ? err(refusal('E_AUDIT_NOT_FOUND')) : ok(found)
