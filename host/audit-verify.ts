/**
 * Verifies a whole log from its files: every entry against its hash, every tile against the one above, the root against the checkpoint, and
 * against any older checkpoint. What is wrong is named by the first entry or tile that is.
 */
import { equalBytes } from '@noble/ciphers/utils.js'
import { CompactRange, HASH_BYTES, type Sha256, TreeHasher } from '../crypto/merkle.ts'
import type { TreeHead } from '../crypto/merkle-proof.ts'
import {
  bundleEntries,
  bundlePath,
  decodeBundle,
  TILE_WIDTH,
  type Tile,
  tilePath,
  tileRoot,
  tilesAt,
} from '../crypto/merkle-tiles.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { forked, rolledBack } from './audit-checkpoint.ts'
import type { LogFiles } from './audit-files.ts'
import { EXIT, UserError } from './user-error.ts'

/** Pairs of tile and bundle that are under way at a time: enough to hide a slow connection. */
const AHEAD = 16

export interface VerifyOptions {
  readonly files: LogFiles
  /** Signed: what the files must amount to. */
  readonly checkpoint: TreeHead
  /** Whatever was believed before, in any order. */
  readonly known: readonly TreeHead[]
  readonly sha256: Sha256
  /** Whether entries may be missing that were archived: their hashes are verified all the same. */
  readonly withoutArchived?: boolean
  /** Told of entries whose hashes are right, in order. */
  readonly onEntries?: (first: number, entries: readonly Uint8Array[]) => void
}

export interface VerifiedLog {
  readonly entries: number
  /** Entries of which only the hash was there. */
  readonly unread: number
}

type Verdict<T> = Result<T, UserError>

export async function verifyLog(options: VerifyOptions): Promise<Verdict<VerifiedLog>> {
  const { checkpoint, known } = options
  const ahead = known.find(({ size }) => size > checkpoint.size)
  if (ahead !== undefined) return err(rolledBack(ahead, checkpoint))
  const verifier = new LogVerifier(options)
  for await (const fetched of inOrder(leafTiles(options), AHEAD)) {
    const added = verifier.addLeaves(fetched)
    if (!added.ok) return added
  }
  const above = await verifier.checkAbove()
  if (!above.ok) return above
  return verifier.finish()
}

interface FetchedTile {
  readonly tile: Tile
  readonly hashes: Uint8Array | 'archived' | undefined
  readonly bundle: Uint8Array | 'archived' | undefined
}

function* leafTiles({ files, checkpoint }: VerifyOptions): Generator<() => Promise<FetchedTile>> {
  for (const tile of tilesAt(0, checkpoint.size))
    yield async () => {
      const [hashes, bundle] = await Promise.all([files.read(tilePath(tile)), files.read(bundlePath(tile))])
      return { tile, hashes, bundle }
    }
}

class LogVerifier {
  readonly #options: VerifyOptions
  readonly #hasher: TreeHasher
  readonly #range: CompactRange
  /** Older checkpoints that are still to come, next one first. */
  readonly #known: TreeHead[]
  /** Roots of the full tiles below, by level: what the tiles of that level must hold. */
  readonly #above: Uint8Array[][] = []
  #unread = 0

  constructor(options: VerifyOptions) {
    this.#options = options
    this.#hasher = new TreeHasher(options.sha256)
    this.#range = new CompactRange(this.#hasher)
    this.#known = [...options.known].sort((a, b) => a.size - b.size)
  }

  addLeaves({ tile, hashes, bundle }: FetchedTile): Verdict<undefined> {
    if (!(hashes instanceof Uint8Array)) return err(missing(tilePath(tile)))
    if (hashes.length !== tile.width * HASH_BYTES) return err(wrongTile(tile, 'it has another length'))
    const entries = this.#checkEntries(tile, hashes, bundle)
    if (!entries.ok) return entries
    const passed = this.#passKnown(tile, hashes)
    if (!passed.ok) return passed
    this.#add(tile, hashes)
    if (entries.value !== undefined) this.#options.onEntries?.(tile.n * TILE_WIDTH, entries.value)
    return ok(undefined)
  }

  /** Level by level: each tile must hold the roots of those below it. */
  async checkAbove(): Promise<Verdict<undefined>> {
    const { files, checkpoint } = this.#options
    for (let level = 1; this.#above[level] !== undefined; level++) {
      const expected = this.#above[level] ?? []
      for (const tile of tilesAt(level, checkpoint.size)) {
        const hashes = await files.read(tilePath(tile))
        if (!(hashes instanceof Uint8Array)) return err(missing(tilePath(tile)))
        if (hashes.length !== tile.width * HASH_BYTES) return err(wrongTile(tile, 'it has another length'))
        for (let i = 0; i < tile.width; i++) {
          const below = tile.n * TILE_WIDTH + i
          if (!equalBytes(hashAt(hashes, i), expected[below] ?? hashes)) {
            const child = tilePath({ level: level - 1, n: below, width: TILE_WIDTH })
            return err(wrongTile(tile, `it does not hold the root of ${child}`))
          }
        }
        if (tile.width === TILE_WIDTH) this.#gather(level, hashes)
      }
    }
    return ok(undefined)
  }

  finish(): Verdict<VerifiedLog> {
    const { checkpoint } = this.#options
    const last = this.#checkKnown(this.#range)
    if (!last.ok) return last
    if (!equalBytes(this.#range.root(), checkpoint.root)) return err(wrongRoot(checkpoint))
    return ok({ entries: checkpoint.size, unread: this.#unread })
  }

  #checkEntries(
    tile: Tile,
    hashes: Uint8Array,
    bundle: FetchedTile['bundle'],
  ): Verdict<readonly Uint8Array[] | undefined> {
    const first = tile.n * TILE_WIDTH
    if (bundle === 'archived' && this.#options.withoutArchived === true) {
      this.#unread += tile.width
      return ok(undefined)
    }
    if (bundle === 'archived') return err(archived(first))
    if (bundle === undefined) return err(missing(bundlePath(tile)))
    const whole = [...bundleEntries(bundle, tile.width)]
    const wrong = whole.findIndex((entry, i) => !equalBytes(this.#hasher.leaf(entry), hashAt(hashes, i)))
    if (wrong >= 0) return err(wrongEntry(first + wrong))
    if (whole.length < tile.width) return err(wrongEntry(first + whole.length))
    return decodeBundle(bundle, tile.width) === undefined ? err(wrongBundle(bundlePath(tile))) : ok(whole)
  }

  /** A checkpoint from within this tile has the root of what came before it and of the leaves up to it. */
  #passKnown({ width }: Tile, hashes: Uint8Array): Verdict<undefined> {
    const begin = this.#range.size
    let partial: CompactRange | undefined
    while ((this.#known[0]?.size ?? Number.POSITIVE_INFINITY) < begin + width) {
      partial ??= this.#range.copy()
      const { size = 0 } = this.#known[0] ?? {}
      for (let i = partial.size - begin; i < size - begin; i++) partial.append(hashAt(hashes, i))
      const checked = this.#checkKnown(partial)
      if (!checked.ok) return checked
    }
    return ok(undefined)
  }

  /** Those of the range's size are what the range says. */
  #checkKnown(range: CompactRange): Verdict<undefined> {
    while (this.#known[0]?.size === range.size) {
      const [known] = this.#known.splice(0, 1)
      if (known !== undefined && !equalBytes(known.root, range.root()))
        return err(
          known.size === this.#options.checkpoint.size
            ? rolledBack(known, this.#options.checkpoint)
            : forked(known, this.#options.checkpoint),
        )
    }
    return ok(undefined)
  }

  #add({ width }: Tile, hashes: Uint8Array): void {
    if (width === TILE_WIDTH) {
      this.#range.appendSubtree(this.#gather(0, hashes), TILE_WIDTH)
      return
    }
    for (let i = 0; i < width; i++) this.#range.append(hashAt(hashes, i))
  }

  #gather(level: number, hashes: Uint8Array): Uint8Array {
    const root = tileRoot(hashes, this.#hasher)
    const above = this.#above[level + 1] ?? []
    this.#above[level + 1] = above
    above.push(root)
    return root
  }
}

const hashAt = (hashes: Uint8Array, i: number): Uint8Array =>
  hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)

/** Results in the order of the work, some of it done ahead. */
async function* inOrder<T>(work: Iterable<() => Promise<T>>, ahead: number): AsyncGenerator<T> {
  const waiting: Promise<T>[] = []
  for (const task of work) {
    const started = task()
    // Whoever stops at an earlier failure does not look at the later ones.
    started.catch(() => undefined)
    waiting.push(started)
    if (waiting.length >= ahead) yield await (waiting.shift() as Promise<T>)
  }
  for (const started of waiting) yield await started
}

const problem = (code: string, message: string, why?: string, fix?: string): UserError =>
  new UserError({ code, message, why, fix, exitCode: EXIT.failure })

const wrongEntry = (index: number): UserError =>
  problem('E_AUDIT_ENTRY', `entry ${index} of the audit trail was changed`, 'it does not have its hash')
const wrongBundle = (path: string): UserError =>
  problem('E_AUDIT_ENTRY', `${path} of the audit trail was changed`, 'it holds more than its entries')
const wrongTile = (tile: Tile, why: string): UserError =>
  problem('E_AUDIT_TILE', `${tilePath(tile)} of the audit trail was changed`, why)
const missing = (path: string): UserError => problem('E_AUDIT_MISSING', `the audit trail lacks ${path}`)
const wrongRoot = ({ size }: TreeHead): UserError =>
  problem('E_AUDIT_ROOT', `the ${size} entries of the audit trail are not what its checkpoint says`)
const archived = (index: number): UserError =>
  problem(
    'E_AUDIT_ARCHIVED',
    `entry ${index} has left the gateway for an archive`,
    undefined,
    'name the archive with --archive DIR, or verify hashes alone where entries are archived with --without-archived',
  )
