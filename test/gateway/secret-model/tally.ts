/** What the sequences of a test have been through, so that it can say so, and fail if it was next to nothing. */
import type { Kind } from './operations.ts'
import type { Run } from './run.ts'

export class Tally {
  sequences = 0
  operations = 0
  writes = 0
  faults = 0
  crashes = 0
  commits = 0
  conflicts = 0
  /** How often each kind of work has succeeded, and been refused with each code. */
  readonly ends = new Map<string, number>()

  add({ history, faults, conflicts }: Run): void {
    this.sequences += 1
    this.writes += faults.writes
    this.faults += faults.injected
    this.crashes += faults.crashes
    this.conflicts += conflicts
    for (const { kind, outcome, commits } of history.work) {
      this.operations += 1
      this.commits += commits.length
      const end = typeof outcome === 'string' ? outcome : 'done' in outcome ? 'done' : outcome.refused
      this.#count(kind, end)
    }
  }

  count(kind: Kind, end: string): number {
    return this.ends.get(`${kind} ${end}`) ?? 0
  }

  toString(): string {
    const { sequences, operations, commits, writes, faults, crashes, conflicts } = this
    return (
      `${sequences} sequences, ${operations} operations, ${commits} changes, ${conflicts} of them overtaken first; ` +
      `${writes} writes, of which ${faults} failed, ${crashes} with their isolate`
    )
  }

  #count(kind: Kind, end: string): void {
    this.ends.set(`${kind} ${end}`, this.count(kind, end) + 1)
  }
}
