/**
 * The Merkle tree of RFC 6962, section 2.1: its hashes, and a tree that grows at its right edge.
 *
 * A complete subtree of 2^height leaves is named by its height and its place among those of that height. Sizes go beyond 32 bits, so that
 * they are divided rather than shifted.
 */
import { sha256 } from '@noble/hashes/sha2.js'

/** SHA-256. Node's own is several times faster than one in JavaScript, but not everywhere. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array

export const HASH_BYTES = 32

/** Differ, so that no entry can pass for two hashes, nor two hashes for an entry. */
const LEAF = 0x00
const NODE = 0x01

export class TreeHasher {
  readonly #sha256: Sha256
  readonly #pair = new Uint8Array(1 + 2 * HASH_BYTES)
  #entry = new Uint8Array(1024)

  constructor(hash: Sha256 = sha256) {
    this.#sha256 = hash
    this.#pair[0] = NODE
  }

  /** Of an entry as it is. */
  leaf(entry: Uint8Array): Uint8Array {
    if (this.#entry.length <= entry.length) this.#entry = new Uint8Array(2 * (1 + entry.length))
    this.#entry[0] = LEAF
    this.#entry.set(entry, 1)
    return this.#sha256(this.#entry.subarray(0, 1 + entry.length))
  }

  node(left: Uint8Array, right: Uint8Array): Uint8Array {
    if (left.length !== HASH_BYTES || right.length !== HASH_BYTES) throw new RangeError('not two hashes')
    this.#pair.set(left, 1)
    this.#pair.set(right, 1 + HASH_BYTES)
    return this.#sha256(this.#pair)
  }

  /** The root of no entries. */
  empty(): Uint8Array {
    return this.#sha256(new Uint8Array(0))
  }
}

export const treeHasher = new TreeHasher()

/**
 * All that a tree needs in order to grow: the roots of the complete subtrees that it consists of, largest first. As the binary digits of the
 * size: a one at 2^h is a subtree of that height.
 */
export class CompactRange {
  #size = 0
  readonly #roots: Uint8Array[] = []
  readonly #hasher: TreeHasher

  constructor(hasher: TreeHasher = treeHasher) {
    this.#hasher = hasher
  }

  get size(): number {
    return this.#size
  }

  append(leaf: Uint8Array): void {
    this.appendSubtree(leaf, 1)
  }

  /** Appends 2^h leaves by their root. @throws RangeError unless they begin at a multiple of their number. */
  appendSubtree(root: Uint8Array, leaves: number): void {
    if (this.#size % leaves !== 0) throw new RangeError(`${leaves} leaves do not go at ${this.#size}`)
    let hash = root
    for (let place = this.#size / leaves; place % 2 === 1; place = (place - 1) / 2) {
      hash = this.#hasher.node(this.#pop(), hash)
    }
    this.#roots.push(hash)
    this.#size += leaves
  }

  root(): Uint8Array {
    return fold(this.#hasher, this.#roots)
  }

  /** Grows on its own from here. */
  copy(): CompactRange {
    const copy = new CompactRange(this.#hasher)
    copy.#roots.push(...this.#roots)
    copy.#size = this.#size
    return copy
  }

  #pop(): Uint8Array {
    const root = this.#roots.pop()
    if (root === undefined) throw new Error('a compact range lacks a subtree')
    return root
  }
}

/** The root over subtrees that follow one another, each no larger than the one before. */
export function fold(hasher: TreeHasher, roots: readonly Uint8Array[]): Uint8Array {
  let root: Uint8Array | undefined
  for (let i = roots.length - 1; i >= 0; i--) {
    const left = roots[i] as Uint8Array
    root = root === undefined ? left : hasher.node(left, root)
  }
  return root ?? hasher.empty()
}

/** Leaves [begin, end) of a tree: one of the subtrees by which RFC 6962 takes it apart. */
export interface LeafRange {
  readonly begin: number
  readonly end: number
}

export interface SubtreeName {
  readonly height: number
  readonly index: number
}

/** The complete subtrees of a range, largest first, as they lie side by side. @param range begins at a multiple of what it holds. */
export function completeSubtrees({ begin, end }: LeafRange): SubtreeName[] {
  const names: SubtreeName[] = []
  for (let from = begin; from < end; ) {
    let [height, leaves] = [0, 1]
    while (from % (2 * leaves) === 0 && from + 2 * leaves <= end) [height, leaves] = [height + 1, 2 * leaves]
    names.push({ height, index: from / leaves })
    from += leaves
  }
  return names
}

/** The largest power of two below n, for n > 1: where RFC 6962 splits n leaves. */
export function splitPoint(n: number): number {
  let k = 1
  while (2 * k < n) k *= 2
  return k
}
