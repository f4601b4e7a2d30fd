/** What is done to the store, drawn at random. Versions are counted back from the newest, so that most of them are there. */
import fc from 'fast-check'
import { NodeId, NodeName, SecretName, Tags } from '../../../protocol/ids.ts'
import { MUTATION_TIMEOUT_MS } from '../../../protocol/limits.ts'
import {
  NOBODY,
  type Reader,
  type StoredPolicy,
  type StoredRule,
  WorkloadName,
} from '../../../protocol/secret-policy.ts'
import type { SecretClass } from '../../../protocol/secrets.ts'
import type { CacheKind, Fault } from './faults.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR
/** Longer than a change may be open. */
export const LOST = MUTATION_TIMEOUT_MS + 1_000

export const NAMES = ['app/one', 'two'].map((name) => SecretName.parse(name))
const TRAIN = WorkloadName.parse('train')

const nodes = ['a', 'b'].map((letter) => ({
  id: NodeId.parse(letter.repeat(26)),
  name: NodeName.parse(`node-${letter}`),
}))
const [NODE_A, NODE_B] = nodes
export const READERS: readonly Reader[] = nodes.flatMap(({ id }, index) => {
  const reader = { id, tags: Tags.parse(index === 0 ? ['gpu'] : ['cpu']) }
  return [reader, { ...reader, workload: TRAIN }]
})
export const RECIPIENTS: readonly (readonly NodeId[])[] = [[], nodes.map(({ id }) => id)]

const rule = (part: Partial<StoredRule>): StoredRule => ({
  effect: 'allow',
  nodes: [],
  tags: [],
  workloads: [],
  roles: [],
  expires: null,
  ...part,
})
const only = (node: (typeof nodes)[number] | undefined) => (node === undefined ? [] : [node])
const time = (at: number): string => new Date(at).toISOString()
const POLICIES: readonly ((start: number) => StoredPolicy)[] = [
  () => ({ rules: [rule({ nodes })], expires: null }),
  () => NOBODY,
  () => ({ rules: [rule({ nodes: only(NODE_A) })], expires: null }),
  () => ({
    rules: [
      rule({ tags: Tags.parse(['gpu', 'cpu']) }),
      rule({ effect: 'deny', nodes: only(NODE_B), workloads: [TRAIN] }),
    ],
    expires: null,
  }),
  (start) => ({ rules: [rule({ nodes, expires: time(start + HOUR) })], expires: null }),
  (start) => ({
    rules: [rule({ tags: Tags.parse(['gpu']), workloads: [TRAIN] })],
    expires: time(start + DAY),
  }),
]
/** They join the policy there is, or take the place of the one for the same readers. */
const RULES: readonly StoredRule[] = [
  rule({ nodes: only(NODE_A) }),
  rule({ nodes: only(NODE_B), workloads: [TRAIN] }),
  rule({ effect: 'deny', tags: Tags.parse(['cpu']) }),
]
export const ruleOf = (index: number | undefined): StoredRule | undefined =>
  index === undefined ? undefined : RULES[index]

/** @param start of the sequence, from which rules that end are dated. */
export const policyOf = (index: number | undefined, start: number): StoredPolicy | undefined =>
  index === undefined ? undefined : POLICIES[index]?.(start)

/** Of the two isolates that serve, the one that does it; and of the names, the one it is done to. */
interface Where {
  readonly isolate: number
  readonly name: number
}

export type Operation =
  | (Where & {
      readonly kind: 'write'
      readonly class: SecretClass
      readonly large: boolean
      /** Away from the newest version. */
      readonly cas: number | undefined
      readonly overlap: number | undefined
      readonly policy: number | undefined
      readonly recipients: number
    })
  | (Where & { readonly kind: 'reseal'; readonly back: number; readonly recipients: number })
  | (Where & { readonly kind: 'rewrap'; readonly back: number })
  | (Where & {
      readonly kind: 'delete' | 'undelete' | 'destroy'
      readonly back: readonly number[] | undefined
    })
  | (Where & { readonly kind: 'purge' })
  | (Where & {
      readonly kind: 'settings'
      readonly policy: number | undefined
      readonly rule: number | undefined
      readonly maxVersions: number | undefined
      readonly deleteAfterMs: number | null | undefined
      readonly casRequired: boolean | undefined
    })
  | {
      readonly kind: 'read'
      readonly isolate: number
      readonly reader: number
      /** Of each name what is asked of it. */
      readonly wanted: readonly { readonly name: number; readonly back: number | undefined }[]
    }
  | { readonly kind: 'sweep'; readonly isolate: number; readonly after: number }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'restart trail' }
  | { readonly kind: 'lose isolate'; readonly isolate: number }
  | { readonly kind: 'activate key'; readonly isolate: number; readonly key: number }

export type Kind = Operation['kind']

export interface Sequence {
  /** Those of one step run at the same time. */
  readonly steps: readonly (readonly Operation[])[]
  readonly faults: readonly Fault[]
  /** Whose turn it is, over and over. */
  readonly turns: readonly number[]
  readonly cache: CacheKind
}

const isolate = fc.nat(1)
const name = fc.constantFrom(0, 0, 1)
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined })
const back = fc.integer({ min: -1, max: 3 })
const policy = fc.nat(POLICIES.length - 1)
const where = { isolate, name }
const recipients = fc.nat(RECIPIENTS.length - 1)
const is = <K extends Kind>(kind: K) => fc.constant(kind)

const write = fc.record({
  ...where,
  kind: is('write'),
  class: fc.constantFrom<SecretClass>('managed', 'managed', 'managed', 'sealed'),
  large: fc.nat(7).map((one) => one === 0),
  cas: maybe(fc.constantFrom(0, 0, 0, -1, 1)),
  overlap: maybe(fc.constantFrom(0, MINUTE, HOUR)),
  policy: maybe(policy),
  recipients,
})
const reseal = fc.record({ ...where, kind: is('reseal'), back, recipients })
const rewrap = fc.record({ ...where, kind: is('rewrap'), back })
const change = fc.record({
  ...where,
  kind: fc.constantFrom('delete' as const, 'undelete' as const, 'destroy' as const),
  back: maybe(fc.uniqueArray(back, { minLength: 1, maxLength: 2 })),
})
const purge = fc.record({ ...where, kind: is('purge') })
const settings = fc.record({
  ...where,
  kind: is('settings'),
  policy: maybe(policy),
  rule: maybe(fc.nat(RULES.length - 1)),
  maxVersions: maybe(fc.integer({ min: 1, max: 3 })),
  deleteAfterMs: maybe(fc.constantFrom(null, 30 * MINUTE)),
  casRequired: maybe(fc.boolean()),
})
const read = fc.record({
  kind: is('read'),
  isolate,
  reader: fc.nat(READERS.length - 1),
  wanted: fc.uniqueArray(fc.record({ name, back: maybe(back) }), {
    minLength: 1,
    maxLength: 2,
    selector: (one) => one.name,
  }),
})
const sweep = fc.record({ kind: is('sweep'), isolate, after: fc.constantFrom(0, LOST) })
const wait = fc.record({ kind: is('wait'), ms: fc.constantFrom(MINUTE, 40 * MINUTE, 2 * HOUR, DAY + HOUR) })
const restart = fc.record({ kind: is('restart trail') })
const lose = fc.record({ kind: is('lose isolate'), isolate })
const activate = fc.record({ kind: is('activate key'), isolate, key: fc.integer({ min: 1, max: 2 }) })

/** A worker does not live for a day: no long wait runs beside others. */
const together = fc.oneof(
  { arbitrary: write as fc.Arbitrary<Operation>, weight: 36 },
  { arbitrary: read, weight: 42 },
  { arbitrary: change, weight: 24 },
  { arbitrary: settings, weight: 12 },
  { arbitrary: rewrap, weight: 12 },
  { arbitrary: reseal, weight: 12 },
  { arbitrary: sweep, weight: 12 },
  { arbitrary: purge, weight: 6 },
  { arbitrary: lose, weight: 6 },
  { arbitrary: activate, weight: 6 },
  // It reads up to 255 entries and hashes them anew, which is as long as everything else of a sequence.
  { arbitrary: restart, weight: 1 },
)
const alone = fc.oneof({ arbitrary: together, weight: 9 }, { arbitrary: wait, weight: 1 })
const step = fc.oneof(
  { arbitrary: fc.tuple(alone) as fc.Arbitrary<Operation[]>, weight: 3 },
  { arbitrary: fc.array(together, { minLength: 2, maxLength: 3 }), weight: 2 },
)

const fault = fc.record({
  at: fc.nat(20),
  how: fc.constantFrom('before' as const, 'after' as const, 'late' as const),
  crash: fc.boolean(),
})

/** Most work needs something that is there. */
const first = fc.tuple(write.map((one): Operation => ({ ...one, name: 0, cas: undefined })))
const steps = fc
  .tuple(first, fc.array(step, { minLength: 2, maxLength: 6 }))
  .map(([one, others]) => [one, ...others])

export const sequence: fc.Arbitrary<Sequence> = fc.record({
  steps,
  faults: fc.array(fault, { maxLength: 3 }),
  turns: fc.array(fc.nat(5), { minLength: 1, maxLength: 24 }),
  cache: fc.constantFrom('good', 'stale', 'bad'),
})
