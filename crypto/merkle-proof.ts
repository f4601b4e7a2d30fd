/** Inclusion and consistency proofs: which subtrees they consist of (RFC 6962, sections 2.1.1 and 2.1.2), and whether they hold (RFC 9162, 2.1). */
import { equalBytes } from '@noble/ciphers/utils.js'
import {
  completeSubtrees,
  fold,
  HASH_BYTES,
  type LeafRange,
  type SubtreeName,
  splitPoint,
  type TreeHasher,
  treeHasher,
} from './merkle.ts'

/** Root of a complete subtree. */
export type SubtreeReader = (name: SubtreeName) => Uint8Array

/** A tree at one of its sizes. */
export interface TreeHead {
  readonly size: number
  readonly root: Uint8Array
}

/** The subtrees that prove leaf `index` to be in the tree of `size` leaves, from the leaf up. @throws RangeError if there is no such leaf. */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  if (!isSize(index) || !isSize(size) || index >= size) throw new RangeError(`no leaf ${index} of ${size}`)
  const ranges: LeafRange[] = []
  for (let [begin, end] = [0, size]; end - begin > 1; ) {
    const middle = begin + splitPoint(end - begin)
    if (index < middle) {
      ranges.push({ begin: middle, end })
      end = middle
    } else {
      ranges.push({ begin, end: middle })
      begin = middle
    }
  }
  return ranges.reverse()
}

/** The subtrees that prove the tree of `to` leaves to begin with that of `from`. @throws RangeError if it cannot. */
export function consistencyRanges(from: number, to: number): LeafRange[] {
  if (!isSize(from) || !isSize(to) || from > to) throw new RangeError(`no proof from ${from} to ${to}`)
  // Every tree begins with the empty one, and with itself.
  if (from === 0 || from === to) return []
  const ranges: LeafRange[] = []
  let [begin, end] = [0, to]
  while (from < end) {
    const middle = begin + splitPoint(end - begin)
    if (from <= middle) {
      ranges.push({ begin: middle, end })
      end = middle
    } else {
      ranges.push({ begin, end: middle })
      begin = middle
    }
  }
  // What is left is a subtree of the old tree, known to whoever has its root if it is all of it.
  if (begin > 0) ranges.push({ begin, end })
  return ranges.reverse()
}

export const readRange = (
  range: LeafRange,
  read: SubtreeReader,
  hasher: TreeHasher = treeHasher,
): Uint8Array => fold(hasher, completeSubtrees(range).map(read))

export const readProof = (
  ranges: readonly LeafRange[],
  read: SubtreeReader,
  hasher: TreeHasher = treeHasher,
): Uint8Array[] => ranges.map((range) => readRange(range, read, hasher))

/** RFC 9162, section 2.1.3.2. */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  { size, root }: TreeHead,
  proof: readonly Uint8Array[],
  hasher: TreeHasher = treeHasher,
): boolean {
  if (!isSize(index) || !isSize(size) || index >= size || !areHashes([leaf, ...proof])) return false
  let [place, last, hash] = [index, size - 1, leaf]
  for (const sibling of proof) {
    if (last === 0) return false
    if (isOdd(place) || place === last) {
      hash = hasher.node(sibling, hash)
      while (!isOdd(place) && place !== 0) [place, last] = [half(place), half(last)]
    } else {
      hash = hasher.node(hash, sibling)
    }
    ;[place, last] = [half(place), half(last)]
  }
  return last === 0 && equalBytes(hash, root)
}

/** RFC 9162, section 2.1.4.2. */
export function verifyConsistency(
  old: TreeHead,
  now: TreeHead,
  proof: readonly Uint8Array[],
  hasher: TreeHasher = treeHasher,
): boolean {
  if (!isSize(old.size) || !isSize(now.size) || old.size > now.size) return false
  if (!areHashes([old.root, now.root, ...proof])) return false
  if (old.size === now.size) return proof.length === 0 && equalBytes(old.root, now.root)
  if (old.size === 0) return proof.length === 0 && equalBytes(old.root, hasher.empty())

  const path = isPowerOfTwo(old.size) ? [old.root, ...proof] : proof
  let [place, last] = [old.size - 1, now.size - 1]
  while (isOdd(place)) [place, last] = [half(place), half(last)]
  const [first, ...rest] = path
  if (first === undefined) return false
  let [oldHash, newHash] = [first, first]
  for (const sibling of rest) {
    if (last === 0) return false
    if (isOdd(place) || place === last) {
      oldHash = hasher.node(sibling, oldHash)
      newHash = hasher.node(sibling, newHash)
      while (!isOdd(place) && place !== 0) [place, last] = [half(place), half(last)]
    } else {
      newHash = hasher.node(newHash, sibling)
    }
    ;[place, last] = [half(place), half(last)]
  }
  return last === 0 && equalBytes(oldHash, old.root) && equalBytes(newHash, now.root)
}

const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
const isOdd = (value: number): boolean => value % 2 === 1
const half = (value: number): number => Math.floor(value / 2)
const areHashes = (hashes: readonly Uint8Array[]): boolean =>
  hashes.every(({ length }) => length === HASH_BYTES)

function isPowerOfTwo(value: number): boolean {
  let rest = value
  while (rest > 1 && !isOdd(rest)) rest = half(rest)
  return rest === 1
}
