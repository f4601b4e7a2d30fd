/** Whether each piece of work ended as the model would have it at some moment between its start and its end. */
import type { Reader } from '../../../protocol/secret-policy.ts'
import type { History, ValueRead, Work } from './history.ts'
import { type Change, type Effect, effectOf, type Seen, seenBy, type WantedVersion } from './model.ts'

export function checkWork(history: History): void {
  for (const work of history.work) {
    const { outcome, change, read, commits, faults } = work
    if (commits.length > 1) history.violate('happened twice', work)
    if (outcome === 'lost') continue
    if (outcome === 'failed') {
      // The cache is best effort, what has happened need not be settled to be told, and nothing else fails by itself.
      const harmless = commits.length > 0 ? ['kv', 'settle'] : ['kv']
      if (faults.every((write) => harmless.includes(write))) history.violate('failed without a cause', work)
      continue
    }
    if (change !== undefined) checkChange(history, work, change)
    if (read !== undefined) checkRead(history, work, read)
  }
}

function checkChange(history: History, work: Work, change: Change): void {
  const { outcome, commits, start, end } = work
  const effects = history.window(work).map(({ state, now }) => effectOf(state.get(change.name), change, now))
  if (typeof outcome === 'string') return
  if ('done' in outcome) {
    const [commit] = commits
    if (commit === undefined) {
      if (!effects.some(isNothing)) history.violate('is acknowledged, and did not happen', work)
    } else if (commit <= start || commit > end) history.violate('did not happen while it was asked for', work)
    return
  }
  if (commits.length > 0) history.violate('is refused, and happened', work)
  // Whether it really was overtaken that often, its entries say.
  if (outcome.refused === 'E_SECRET_BUSY') return
  const codes = effects.flatMap((effect) =>
    typeof effect === 'object' && 'refused' in effect ? effect.refused : [],
  )
  if (!codes.some((code) => code === outcome.refused))
    history.violate(`could only be refused by ${codes}`, work)
}

const isNothing = (effect: Effect): boolean =>
  effect === 'nothing' || ('needless' in effect && effect.needless === true)

function checkRead(
  history: History,
  work: Work,
  { reader, wanted }: { readonly reader: Reader; readonly wanted: readonly WantedVersion[] },
): void {
  const { outcome } = work
  if (typeof outcome === 'string') return
  const seen = whatCouldBeSeen(history, work, reader, wanted)
  if ('refused' in outcome) {
    const first = seen.map((all) => all.find((one) => 'refused' in one))
    const could = first.some(
      (one) => one !== undefined && 'refused' in one && one.refused === outcome.refused,
    )
    if (!could) history.violate(seenInWords(seen), work)
  } else if (!seen.some((all, index) => agrees(all, outcome.done, seen.slice(index))))
    history.violate(seenInWords(seen), work)
}

/** At each moment, and each time of the clock since, what there was to see of every secret that was asked for. */
function whatCouldBeSeen(history: History, work: Work, reader: Reader, wanted: readonly WantedVersion[]) {
  const window = history.window(work)
  const judgedAt = window[0]?.now ?? 0
  const times = [...new Set(window.map(({ now }) => now))]
  return window.flatMap(({ state }) =>
    times.map((now) => wanted.map((one) => seenBy(state, one, reader, judgedAt, now))),
  )
}

/** A large value is fetched after it was decided on: it may be one that came later. */
const agrees = (
  all: readonly Seen[],
  values: readonly ValueRead[],
  since: readonly (readonly Seen[])[],
): boolean =>
  all.length === values.length &&
  all.every((seen, index) => {
    const read = values[index]
    if (read === undefined || 'refused' in seen || seen.version !== read.version) return false
    if (read.inline) return seen.value === read.value
    return since.some((later) => {
      const then = later[index]
      return (
        then !== undefined && 'value' in then && then.version === read.version && then.value === read.value
      )
    })
  })

const seenInWords = (seen: readonly (readonly Seen[])[]): string =>
  `there was to see: ${seen.map((all) => JSON.stringify(all)).join(' or ')}`
