/** Sequences that are not left to chance: one of each kind of work, to be broken off at every write, and every two that can meet. */
import type { SecretClass } from '../../../protocol/secrets.ts'
import { DAY, type Kind, LOST, type Operation, type Sequence } from './operations.ts'

const PLAIN = {
  isolate: 0,
  name: 0,
  class: 'managed',
  large: false,
  cas: undefined,
  overlap: undefined,
  policy: undefined,
  rule: undefined,
  recipients: 1,
  back: undefined,
  maxVersions: undefined,
  deleteAfterMs: undefined,
  casRequired: undefined,
} as const

type Options = Partial<{
  -readonly [K in keyof typeof PLAIN]: K extends 'class'
    ? SecretClass
    : K extends 'large' | 'casRequired'
      ? boolean
      : number | null | readonly number[] | undefined
}>

/** An operation with what matters of it. */
export const does = (kind: Exclude<Kind, 'read' | 'sweep'>, options: Options = {}): Operation =>
  ({ ...PLAIN, back: kind === 'rewrap' || kind === 'reseal' ? 0 : undefined, kind, ...options }) as Operation
export const read = (isolate: number, back?: number): Operation => ({
  kind: 'read',
  isolate,
  reader: 0,
  wanted: [{ name: 0, back }],
})
const reads = (isolate: number, ...back: (number | undefined)[]): Operation[] =>
  back.map((one) => read(isolate, one))
const sweeps = (after = LOST): Operation => ({ kind: 'sweep', isolate: 1, after })
const activates = (isolate: number): Operation => ({ kind: 'activate key', isolate, key: 2 })

export const sequenceOf = (steps: readonly (readonly Operation[])[]): Sequence => ({
  steps,
  faults: [],
  turns: [0, 1, 1, 0, 2, 1],
  cache: 'good',
})
export const inOrder = (...operations: Operation[]): Sequence => sequenceOf(operations.map((one) => [one]))

/** Policies. */
export const ALL = 0
export const NOBODY = 1
const MINUTE = 60_000

export const SEQUENCES: Readonly<Record<string, Sequence>> = {
  'rotation with overlap, and the end of a version': inOrder(
    does('write', { policy: ALL }),
    read(0),
    read(0),
    does('write', { overlap: MINUTE }),
    ...reads(0, undefined, 1),
    does('destroy', { back: [1] }),
    ...reads(0, undefined, 1),
  ),
  'a large value under another key': inOrder(
    does('write', { policy: ALL, large: true }),
    read(0),
    read(0),
    activates(0),
    does('rewrap'),
    read(1),
    read(1),
    does('delete'),
    read(0),
    does('undelete'),
    read(0),
  ),
  'the sealed class, and a new beginning': inOrder(
    does('write', { policy: ALL, class: 'sealed', large: true }),
    read(0),
    does('reseal', { recipients: 0 }),
    read(0),
    does('purge'),
    read(0),
    does('write', { policy: ALL }),
    read(0),
  ),
  'settings that drop versions and deny readers': inOrder(
    does('write', { policy: ALL }),
    does('settings', { maxVersions: 2, casRequired: true, deleteAfterMs: MINUTE }),
    does('write'),
    does('write', { cas: 0 }),
    does('write', { cas: -1 }),
    does('write', { cas: 0 }),
    ...reads(0, undefined, 1, 2),
    does('settings', { policy: NOBODY }),
    read(0),
    does('settings', { rule: 0 }),
    read(0),
    { kind: 'wait', ms: 2 * MINUTE },
    read(0),
    does('undelete'),
    read(0),
  ),
  'a trail whose object begins anew, and counts the same changes again': inOrder(
    does('write', { policy: ALL }),
    read(0),
    read(0),
    { kind: 'restart trail' },
    does('write'),
    read(0),
  ),
  'work that meets': sequenceOf([
    [does('write', { policy: ALL }), does('write', { isolate: 1, policy: ALL })],
    [does('write'), read(0), does('settings', { isolate: 1, rule: 1 })],
    [does('delete'), does('undelete', { isolate: 1 }), read(1)],
    [does('write', { isolate: 1 }), does('purge'), sweeps()],
    [sweeps(0), does('write'), { kind: 'restart trail' }],
    [read(0)],
  ]),
}

/** What can meet, on a secret that has two versions, of which everybody may read the newer and for a day the older. */
const MANAGED: readonly Operation[] = [
  does('write', { cas: 0 }),
  does('delete'),
  does('undelete', { back: [0, 1] }),
  does('destroy'),
  does('purge'),
  does('settings', { policy: NOBODY }),
  does('settings', { rule: 1 }),
  does('rewrap'),
  read(0),
  read(1),
  sweeps(),
  does('lose isolate'),
]
const SEALED: readonly Operation[] = [
  does('write', { class: 'sealed' }),
  does('reseal'),
  does('destroy'),
  does('purge'),
  read(0),
]

/** Each two of those at the same time. */
export const MEETINGS: readonly Sequence[] = [
  ...MANAGED.flatMap((one) => MANAGED.map((other) => meetingOf('managed', one, other))),
  ...SEALED.flatMap((one) => SEALED.map((other) => meetingOf('sealed', one, other))),
]

export const CHANGES: readonly Operation[] = MANAGED.filter(
  ({ kind }) => !['read', 'sweep', 'lose isolate'].includes(kind),
)

/** All of them at the same time; before and behind them, reads by each isolate. */
export function meetingOf(secretClass: SecretClass, ...together: readonly Operation[]): Sequence {
  // The bytes of a large one are asked for after its row: there is something to meet.
  const large = together.length === 2 && together.some(({ kind }) => kind === 'read')
  const before = [
    does('write', { class: secretClass, policy: ALL }),
    does('write', { class: secretClass, overlap: DAY, large }),
    activates(0),
    read(0),
    read(0),
  ]
  return sequenceOf([...before.map((step) => [step]), together, [read(0)], [read(1)]])
}
