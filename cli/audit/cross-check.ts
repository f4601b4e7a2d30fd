/** What the stores hold must be in the audit trail, and the other way round: one check for each kind of thing. */
import type { AuditItem } from '../../protocol/audit.ts'

/** The log, as far as it has been verified. */
export interface ProvenLog {
  /** Entries below it were archived, and their text is nowhere at hand. */
  readonly start: number
  readonly size: number
  /** Any entry, also one that has come since; only once it is proven. @throws UserError */
  entry(index: number): Promise<AuditItem>
}

export interface AuditCrossCheck {
  /** What is compared, as a verdict calls it: `node keys`. */
  readonly name: string
  /** Whether it has to see the entries of an action. */
  wants(action: string): boolean
  /** @param entries all that it wants, in order. @returns what is wrong, a line each. */
  problems(entries: readonly AuditItem[], log: ProvenLog): Promise<readonly string[]>
}
