/** Whatever somebody does to a stored log, with the gateway's own key or without it, is found out by whoever has kept one checkpoint. */
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { TreeHead } from '../../crypto/merkle-proof.ts'
import { bundleEntries, encodeBundle, TILE_WIDTH } from '../../crypto/merkle-tiles.ts'
import { openCheckpoint } from '../../host/audit-checkpoint.ts'
import { verifyLog } from '../../host/audit-verify.ts'
import { nodeSha256 } from '../../host/sha256.ts'
import type { UserError } from '../../host/user-error.ts'
import { type Files, LogSigner, logEntries, logEntry, logFiles, ORIGIN } from '../support/log-files.ts'

const MINUTES = 60_000
/** Around the edges of tiles, where mistakes live. */
const SIZES = [1, 2, 3, 17, 255, 256, 257, 300, 511, 512, 513, 640]

interface Log {
  readonly entries: readonly Uint8Array[]
  readonly files: Files
  readonly head: TreeHead
  readonly note: string
}

let signer: LogSigner
let stranger: LogSigner
const logs = new Map<number, Log>()
/** The root at every size, for checkpoints that were kept. */
const heads: TreeHead[] = []

async function signedLog(entries: readonly Uint8Array[]): Promise<Log> {
  const { files, head } = logFiles(entries)
  return { entries, files, head, note: await signer.note(head) }
}

beforeAll(async () => {
  signer = await LogSigner.make()
  stranger = await LogSigner.make()
  const entries = logEntries(Math.max(...SIZES))
  for (const size of SIZES) logs.set(size, await signedLog(entries.slice(0, size)))
  for (let size = 0; size <= entries.length; size++) heads.push(logFiles(entries.slice(0, size)).head)
})

/** As `claw audit verify` does it. */
async function audit(files: Files, note: string, old: TreeHead): Promise<UserError | undefined> {
  const opened = await openCheckpoint(note, ORIGIN, [signer.key])
  if (!opened.ok) return opened.error
  const verified = await verifyLog({
    files: { read: async (path) => files.get(path) },
    checkpoint: opened.value,
    known: [old],
    sha256: nodeSha256,
  })
  return verified.ok ? undefined : verified.error
}

/** Chance, as numbers in [0, 1). */
type Chance = readonly [number, number, number]
type Tampered = Pick<Log, 'files' | 'note'> & { readonly index?: number }

const pick = <T>(from: readonly T[], chance: number): T => from[Math.floor(chance * from.length)] as T
const place = (size: number, chance: number): number => Math.floor(chance * size)

function flipped(bytes: Uint8Array, chance: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  const bit = place(copy.length * 8, chance)
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return copy
}

const withFile = ({ files, note }: Log, path: string, content: Uint8Array | undefined): Tampered => {
  const changed = new Map(files)
  if (content === undefined) changed.delete(path)
  else changed.set(path, content)
  return { files: changed, note }
}

const pathsOf = (log: Log, kind: 'entries' | 'hashes'): string[] =>
  [...log.files.keys()].filter((path) => path.startsWith('tile/entries/') === (kind === 'entries'))

/** What can be done to what is stored, without a signature. */
const STORED: Readonly<Record<string, (log: Log, chance: Chance) => Tampered | undefined>> = {
  'an entry is edited': (log, [a, b]) => {
    const path = pick(pathsOf(log, 'entries'), a)
    const content = log.files.get(path) as Uint8Array
    return withFile(log, path, flipped(content, b))
  },
  'a hash is edited': (log, [a, b]) => {
    const path = pick(pathsOf(log, 'hashes'), a)
    return withFile(log, path, flipped(log.files.get(path) as Uint8Array, b))
  },
  'an entry is dropped from its bundle': (log, [a, b]) => {
    const path = pick(pathsOf(log, 'entries'), a)
    const entries = [...bundleEntries(log.files.get(path) as Uint8Array, TILE_WIDTH)]
    return withFile(log, path, encodeBundle(entries.toSpliced(place(entries.length, b), 1)))
  },
  'two entries change places': (log, [a, b, c]) => {
    const path = pick(pathsOf(log, 'entries'), a)
    const entries = [...bundleEntries(log.files.get(path) as Uint8Array, TILE_WIDTH)]
    const [i, j] = [place(entries.length, b), place(entries.length, c)]
    if (i === j) return undefined
    const swapped = entries.with(i, entries[j] as Uint8Array).with(j, entries[i] as Uint8Array)
    return { ...withFile(log, path, encodeBundle(swapped)), index: bundleStart(path) + Math.min(i, j) }
  },
  'a file is cut short': (log, [a, b]) => {
    const path = pick([...log.files.keys()], a)
    const content = log.files.get(path) as Uint8Array
    return withFile(log, path, content.subarray(0, place(content.length, b)))
  },
  'something is added to a file': (log, [a, b]) => {
    const path = pick([...log.files.keys()], a)
    const more = new Uint8Array(1 + place(64, b))
    return withFile(log, path, Buffer.concat([log.files.get(path) as Uint8Array, more]))
  },
  'a file is gone': (log, [a]) => withFile(log, pick([...log.files.keys()], a), undefined),
  'a file is another': (log, [a, b]) => {
    const [path, other] = [pick([...log.files.keys()], a), pick([...log.files.keys()], b)]
    return path === other ? undefined : withFile(log, path, log.files.get(other))
  },
  'entries and all hashes are rewritten under the old checkpoint': ({ entries, note }, [a]) => {
    const index = place(entries.length, a)
    return { files: logFiles(entries.with(index, logEntry(index, 'secret.forged'))).files, note }
  },
}

const bundleStart = (path: string): number => Number(/(\d{3})(?:\.p|$)/.exec(path)?.[1]) * TILE_WIDTH

/** What the gateway itself could do, which signs anew: to entries that the kept checkpoint knows of. */
const REWRITTEN: Readonly<
  Record<string, (entries: readonly Uint8Array[], known: number, chance: Chance) => readonly Uint8Array[]>
> = {
  edited: (entries, known, [a]) => {
    const index = place(known, a)
    return entries.with(index, logEntry(index, 'secret.forged'))
  },
  dropped: (entries, known, [a]) => entries.toSpliced(place(known, a), 1),
  inserted: (entries, known, [a]) => entries.toSpliced(place(known, a), 0, logEntry(9_999, 'secret.forged')),
  swapped: (entries, known, [a, b]) => {
    const [i, j] = [place(known, a), place(entries.length, b)]
    return entries.with(i, entries[j] as Uint8Array).with(j, entries[i] as Uint8Array)
  },
  'cut short': (entries, known, [a]) => entries.slice(0, place(Math.min(known, entries.length), a)),
  'founded anew': (entries, _, [a]) => entries.map((_, index) => logEntry(index + 1 + place(100, a))),
}

/** What can be done to the checkpoint. */
const CHECKPOINTS: Readonly<
  Record<string, (log: Log, chance: Chance, known: TreeHead) => string | Promise<string>>
> = {
  'a character changes': ({ note }, [a, b]) => {
    const at = place(note.length, a)
    const other = String.fromCodePoint(33 + place(90, b))
    return note.slice(0, at) + (note[at] === other ? '~' : other) + note.slice(at + 1)
  },
  'it is cut short': ({ note }, [a]) => note.slice(0, place(note.length, a)),
  'it has another size': ({ note, head }, [a]) =>
    note.replace(`\n${head.size}\n`, `\n${head.size + 1 + place(9, a)}\n`),
  'it has no signature': ({ note }) => note.slice(0, note.lastIndexOf('\n\n') + 2),
  'a stranger has signed it': ({ head }) => stranger.note(head),
  'it is of another log': ({ head }) => signer.note(head, ORIGIN.replace('abc', 'abd')),
  'it is an older one': (_, [a], known) => signer.note(heads[place(known.size, a)] as TreeHead),
  'it has the right size and another root': ({ head }, [a]) =>
    signer.note({ ...head, root: flipped(head.root, a) }),
}

const unit = fc.noBias(fc.nat(2 ** 31 - 1)).map((n) => n / 2 ** 31)
const scenario = fc.record({
  size: fc.constantFrom(...SIZES),
  kept: unit,
  chance: fc.tuple(unit, unit, unit),
  kind: fc.oneof(
    ...Object.keys(STORED).map((name) => fc.constant(['stored', name] as const)),
    ...Object.keys(REWRITTEN).map((name) => fc.constant(['rewritten', name] as const)),
    ...Object.keys(CHECKPOINTS).map((name) => fc.constant(['checkpoint', name] as const)),
  ),
})

describe('a log that nobody has touched', () => {
  it('is verified, whatever checkpoint was kept', async () => {
    for (const [size, { files, note }] of logs)
      for (const kept of [0, 1, Math.floor(size / 2), size - 1, size])
        expect(await audit(files, note, heads[kept] as TreeHead), `${size} from ${kept}`).toBeUndefined()
  })
})

describe('a log that somebody has touched', () => {
  it(
    'is found out, more than 10 000 times at random',
    async () => {
      const tally = new Map<string, number>()
      // Some change nothing, such as an entry that changes places with itself.
      await fc.assert(
        fc.asyncProperty(scenario, async ({ size, kept, chance, kind: [what, name] }) => {
          const log = logs.get(size) as Log
          const known = heads[1 + place(size, kept)] as TreeHead
          const tampered = await tamper(log, known, what, name, chance)
          if (tampered === undefined) return
          const found = await audit(tampered.files, tampered.note, known)
          if (found === undefined)
            throw new Error(`not found out: ${what}, ${name}, ${size} entries, ${known.size} kept`)
          tally.set(
            `${what}: ${name} → ${found.code}`,
            (tally.get(`${what}: ${name} → ${found.code}`) ?? 0) + 1,
          )
          if (tampered.index !== undefined) expect(found.message).toContain(`entry ${tampered.index} `)
        }),
        { numRuns: 12_500 },
      )
      const names = new Set([...tally.keys()].map((line) => line.split(' → ')[0]))
      expect(names.size).toBe(
        Object.keys(STORED).length + Object.keys(REWRITTEN).length + Object.keys(CHECKPOINTS).length,
      )
      expect([...tally.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(10_000)
      console.log(
        [...tally]
          .sort()
          .map(([line, count]) => `${String(count).padStart(5)}  ${line}`)
          .join('\n'),
      )
    },
    10 * MINUTES,
  )
})

async function tamper(
  log: Log,
  known: TreeHead,
  what: 'stored' | 'rewritten' | 'checkpoint',
  name: string,
  chance: Chance,
): Promise<Tampered | undefined> {
  if (what === 'stored') return STORED[name]?.(log, chance)
  if (what === 'checkpoint') {
    const note = await CHECKPOINTS[name]?.(log, chance, known)
    return note === undefined || note === log.note ? undefined : { files: log.files, note }
  }
  const entries = REWRITTEN[name]?.(log.entries, known.size, chance)
  if (entries === undefined) return undefined
  const rewritten = await signedLog(entries)
  return isSame(rewritten.entries, log.entries) ? undefined : rewritten
}

const isSame = (a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean =>
  a.length === b.length && a.every((entry, index) => Buffer.compare(entry, b[index] as Uint8Array) === 0)
