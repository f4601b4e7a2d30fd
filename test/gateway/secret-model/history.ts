/** What has happened in a sequence: each state of the model in turn, and each piece of work with how it ended. */
import type { SecretName } from '../../../protocol/ids.ts'
import type { Reader } from '../../../protocol/secret-policy.ts'
import type { Write } from './faults.ts'
import type { Change, ModelSecret, ModelState, WantedVersion } from './model.ts'
import type { Kind } from './operations.ts'

/** Between two of them nothing that a reader could see has changed. */
interface Moment {
  readonly state: ModelState
  readonly now: number
}

export interface ValueRead {
  readonly name: SecretName
  readonly version: number
  readonly value: string
  /** Whether it came with its row, and is of the same moment. */
  readonly inline: boolean
}

type Outcome =
  /** Its isolate went with it. */
  | 'lost'
  /** It saw an error, and said so. */
  | 'failed'
  | { readonly done: readonly ValueRead[] }
  | { readonly refused: string; readonly detail: string | undefined }

export interface Work {
  /** Request id of all its entries. */
  readonly id: string
  readonly kind: Kind
  readonly change: Change | undefined
  readonly read: { readonly reader: Reader; readonly wanted: readonly WantedVersion[] } | undefined
  /** First and last moment of it. */
  readonly start: number
  end: number
  outcome: Outcome
  /** Moments its changes became true. */
  readonly commits: number[]
  readonly faults: Write[]
}

export class History {
  readonly moments: Moment[]
  readonly work: Work[] = []
  /** What must not be, in words. */
  readonly violations: string[] = []

  constructor(now: number) {
    this.moments = [{ state: new Map(), now }]
  }

  get last(): number {
    return this.moments.length - 1
  }

  get present(): Moment {
    const moment = this.moments.at(-1)
    if (moment === undefined) throw new Error('a history has a beginning')
    return moment
  }

  pass(ms: number): void {
    this.moments.push({ state: this.present.state, now: this.present.now + ms })
  }

  commit(name: SecretName, secret: ModelSecret): number {
    this.moments.push({ state: new Map(this.present.state).set(name, secret), now: this.present.now })
    return this.last
  }

  begin(kind: Kind, change: Work['change'], read: Work['read']): Work {
    const start = this.last
    const work: Work = {
      id: `req_${this.work.length}`,
      kind,
      change,
      read,
      start,
      end: start,
      outcome: 'lost',
      commits: [],
      faults: [],
    }
    this.work.push(work)
    return work
  }

  /** Those from its start to its end. */
  window({ start, end }: Work): readonly Moment[] {
    return this.moments.slice(start, end + 1)
  }

  violate(what: string, work?: Work): void {
    const about = work === undefined ? '' : `${work.id} ${describe(work)}: `
    this.violations.push(about + what)
  }
}

const describe = ({ kind, change, read, outcome, commits, faults }: Work): string =>
  JSON.stringify({ kind, change, read, outcome, commits, faults })
