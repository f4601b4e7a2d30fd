/** What the secrets live in. Everything here takes it as an argument, so that another front end, or a test, can bring its own. */
import type { Keyring } from '../crypto/keyring.ts'
import type { AuditEvent } from '../protocol/audit.ts'
import type { Found, Wanted } from './rows.ts'

export interface SecretStores {
  /** The truth. */
  readonly db: D1Database
  /** Read-through cache of large frames, by their own hash. */
  readonly cache: KVNamespace
  readonly trail: Trail
  /** Of the truth, in the order asked for; undefined where there is no such secret. */
  lookUp(wanted: readonly Wanted[]): Promise<(Found | undefined)[]>
  readonly keyring: Keyring
  now(): number
  /** Runs work after the answer, such as filling the cache. */
  later(work: Promise<unknown>): void
}

interface OpenIntent {
  readonly entry: number
  readonly event: AuditEvent
}

/** The audit trail, as secrets use it (durable-objects/audit-log.ts). */
export interface Trail {
  /** `stamps[i]` changes whenever the target of event i does, and is null while it is being changed. */
  append(events: readonly AuditEvent[]): Promise<{ readonly stamps: readonly (string | null)[] }>
  /** @returns the index of the entry, whose outcome is open from now on. */
  begin(event: AuditEvent): Promise<number>
  settle(entry: number, outcome?: AuditEvent): Promise<void>
  /** Those begun before this time, Unix milliseconds. */
  openIntents(before: number): Promise<readonly OpenIntent[]>
}
