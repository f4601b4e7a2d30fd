/**
 * A log as a set of files (C2SP tlog-tiles): tiles of up to 256 hashes, which name the subtrees 8 levels apart, and bundles of up to 256
 * entries. A full one never changes; a partial one is named with its width, and so never changes either.
 */
import { concat } from './bytes.ts'
import { fold, HASH_BYTES, type SubtreeName, type TreeHasher, treeHasher } from './merkle.ts'

export const TILE_WIDTH = 256
const TILE_HEIGHT = 8
/** Longest entry that a bundle can frame. */
const MAX_FRAMED_BYTES = 0xffff

export interface Tile {
  readonly level: number
  readonly n: number
  /** 256, or fewer for the last tile of its level. */
  readonly width: number
}

export type Bundle = Omit<Tile, 'level'>

export const tilePath = ({ level, ...place }: Tile): string => `tile/${level}/${placePath(place)}`
export const bundlePath = (bundle: Bundle): string => `tile/entries/${placePath(bundle)}`

/** Of a path below the log's prefix; undefined unless it is exactly what tilePath or bundlePath writes. */
export function parseTilePath(path: string): Tile | ({ readonly level: 'entries' } & Bundle) | undefined {
  const match = /^tile\/(entries|0|[1-9][0-9]?)\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(
    path,
  )
  if (match === null) return undefined
  const [, level, digits = '', partial] = match
  const n = Number(digits.replaceAll(/[x/]/g, ''))
  const width = partial === undefined ? TILE_WIDTH : Number(partial)
  const canonical = Number.isSafeInteger(n) && digitGroups(n) === digits
  if (!canonical || (partial !== undefined && width >= TILE_WIDTH)) return undefined
  if (level === 'entries') return { level, n, width }
  return Number(level) < 64 ? { level: Number(level), n, width } : undefined
}

const placePath = ({ n, width }: Bundle): string =>
  width === TILE_WIDTH ? digitGroups(n) : `${digitGroups(n)}.p/${width}`

/** 1234067 as x001/x234/067. */
function digitGroups(n: number): string {
  const groups = [String(n % 1000).padStart(3, '0')]
  for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000))
    groups.unshift(`x${String(rest % 1000).padStart(3, '0')}`)
  return groups.join('/')
}

/** How many hashes a tree of that size has at a level. */
const hashesAt = (level: number, size: number): number => Math.floor(size / TILE_WIDTH ** level)

/** The tiles of a level for a tree of that size, the partial one last. */
export function* tilesAt(level: number, size: number): Generator<Tile> {
  const hashes = hashesAt(level, size)
  for (let n = 0; n * TILE_WIDTH < hashes; n++)
    yield { level, n, width: Math.min(TILE_WIDTH, hashes - n * TILE_WIDTH) }
}

/** The tile from which a subtree's root is read, as a tree of that size has it. */
export function tileOf({ height, index }: SubtreeName, size: number): Tile {
  const level = Math.floor(height / TILE_HEIGHT)
  const n = Math.floor((index * 2 ** (height % TILE_HEIGHT)) / TILE_WIDTH)
  return { level, n, width: Math.min(TILE_WIDTH, hashesAt(level, size) - n * TILE_WIDTH) }
}

/** @throws RangeError if the tile does not hold it. */
export function subtreeInTile(
  { height, index }: SubtreeName,
  hashes: Uint8Array,
  hasher: TreeHasher = treeHasher,
): Uint8Array {
  const count = 2 ** (height % TILE_HEIGHT)
  const first = (index * count) % TILE_WIDTH
  if ((first + count) * HASH_BYTES > hashes.length) throw new RangeError('the tile is too narrow')
  return completeRoot(splitHashes(hashes.subarray(first * HASH_BYTES, (first + count) * HASH_BYTES)), hasher)
}

/** The root of a full tile, which is a hash of the level above. @throws RangeError for a partial one, which has none there. */
export function tileRoot(hashes: Uint8Array, hasher: TreeHasher = treeHasher): Uint8Array {
  if (hashes.length !== TILE_WIDTH * HASH_BYTES) throw new RangeError('not a full tile')
  return completeRoot(splitHashes(hashes), hasher)
}

export const splitHashes = (hashes: Uint8Array): Uint8Array[] =>
  Array.from({ length: hashes.length / HASH_BYTES }, (_, i) =>
    hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  )

/** Over 2^h hashes. */
function completeRoot(hashes: readonly Uint8Array[], hasher: TreeHasher): Uint8Array {
  let row = hashes
  while (row.length > 1) {
    const above: Uint8Array[] = []
    for (let i = 0; i < row.length; i += 2)
      above.push(hasher.node(row[i] as Uint8Array, row[i + 1] as Uint8Array))
    row = above
  }
  return fold(hasher, row)
}

/** @throws RangeError for an entry that cannot be framed. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  return concat(
    ...entries.flatMap((entry) => {
      if (entry.length > MAX_FRAMED_BYTES) throw new RangeError(`an entry of ${entry.length} bytes`)
      return [Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry]
    }),
  )
}

/** Views into the bundle: the entries that are whole. @param max of them are read. */
export function* bundleEntries(bundle: Uint8Array, max: number): Generator<Uint8Array> {
  let at = 0
  for (let read = 0; read < max; read++) {
    const [high, low] = [bundle[at], bundle[at + 1]]
    if (high === undefined || low === undefined) break
    const end = at + 2 + high * 256 + low
    if (end > bundle.length) break
    yield bundle.subarray(at + 2, end)
    at = end
  }
}

/** Undefined unless it holds exactly that many entries. */
export function decodeBundle(bundle: Uint8Array, width: number): Uint8Array[] | undefined {
  const entries = [...bundleEntries(bundle, width)]
  const bytes = entries.reduce((sum, { length }) => sum + 2 + length, 0)
  return entries.length === width && bytes === bundle.length ? entries : undefined
}
