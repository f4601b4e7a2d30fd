/** The tree of RFC 6962 against its published vectors, and against a naive tree; test/unit/merkle.test.ts tries every proof there is. */
import { sha256 } from '@noble/hashes/sha2.js'
import { describe, expect, it } from 'vitest'
import { concat } from '../../crypto/bytes.ts'
import { CompactRange, completeSubtrees, treeHasher } from '../../crypto/merkle.ts'
import {
  consistencyRanges,
  inclusionRanges,
  readProof,
  type SubtreeReader,
  verifyConsistency,
  verifyInclusion,
} from '../../crypto/merkle-proof.ts'
import {
  bundlePath,
  decodeBundle,
  encodeBundle,
  parseTilePath,
  subtreeInTile,
  TILE_WIDTH,
  type Tile,
  tileOf,
  tilePath,
  tileRoot,
  tilesAt,
} from '../../crypto/merkle-tiles.ts'
import { NaiveTree } from '../support/naive-tree.ts'
import vectors from '../vectors/rfc6962_tree.json' with { type: 'json' }

const hex = (text: string): Uint8Array =>
  Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

const entry = (index: number): Uint8Array => Uint8Array.of(index >> 8, index & 0xff)
const LEAVES = Array.from({ length: 301 }, (_, index) => sha256(concat(Uint8Array.of(0), entry(index))))
const naive = new NaiveTree(LEAVES, sha256)
const { read } = naive
const head = (size: number) => naive.head(size)

describe('published vectors', () => {
  const leaves = vectors.leaves.map((leaf) => treeHasher.leaf(hex(leaf)))
  const reference = new NaiveTree(leaves, sha256)
  const headOf = (size: number) => ({ size, root: hex(vectors.roots[size - 1] ?? '') })

  it('roots of every size', () => {
    const range = new CompactRange()
    expect(toHex(range.root())).toBe(vectors.emptyRoot)
    for (const [index, leaf] of leaves.entries()) {
      range.append(leaf)
      expect(toHex(range.root())).toBe(vectors.roots[index])
    }
  })

  it.each(vectors.inclusion)('inclusion of leaf $index in $size', ({ index, size, proof }) => {
    expect(readProof(inclusionRanges(index, size), reference.read).map(toHex)).toEqual(proof)
    expect(verifyInclusion(leaves[index] as Uint8Array, index, headOf(size), proof.map(hex))).toBe(true)
  })

  it.each(vectors.consistency)('consistency of $from with $to', ({ from, to, proof }) => {
    expect(readProof(consistencyRanges(from, to), reference.read).map(toHex)).toEqual(proof)
    expect(verifyConsistency(headOf(from), headOf(to), proof.map(hex))).toBe(true)
  })
})

describe('against the naive tree', () => {
  it('the compact range has its root at every size, by leaves and by subtrees', () => {
    const byLeaves = new CompactRange()
    for (let size = 1; size < LEAVES.length; size++) {
      byLeaves.append(LEAVES[size - 1] as Uint8Array)
      const bySubtrees = new CompactRange()
      for (const name of completeSubtrees({ begin: 0, end: size }))
        bySubtrees.appendSubtree(read(name), 2 ** name.height)
      expect([toHex(byLeaves.root()), bySubtrees.size]).toEqual([toHex(naive.root(0, size)), size])
      expect(toHex(bySubtrees.root())).toBe(toHex(naive.root(0, size)))
    }
    expect(() => byLeaves.appendSubtree(naive.root(0, 8), 8)).toThrow(RangeError)
  })

  it('no bit of a proof can be another', () => {
    const proof = readProof(inclusionRanges(123, 300), read)
    const consistency = readProof(consistencyRanges(123, 300), read)
    for (const [at, hash] of [...proof, ...consistency].entries()) {
      for (const bit of [0, 100, 255]) {
        const flipped = Uint8Array.from(hash)
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        const holds =
          at < proof.length
            ? verifyInclusion(LEAVES[123] as Uint8Array, 123, head(300), proof.with(at, flipped))
            : verifyConsistency(head(123), head(300), consistency.with(at - proof.length, flipped))
        expect(holds).toBe(false)
      }
    }
  })

  it('what is no size, no place and no hash proves nothing', () => {
    const [leaf] = LEAVES as [Uint8Array]
    for (const [index, size] of [
      [0, 0],
      [1, 1],
      [-1, 1],
      [0.5, 1],
      [0, Number.POSITIVE_INFINITY],
      [Number.NaN, 1],
    ] as const) {
      expect(verifyInclusion(leaf, index, { size, root: leaf }, [])).toBe(false)
      expect(() => inclusionRanges(index, size)).toThrow(RangeError)
    }
    expect(verifyInclusion(new Uint8Array(0), 0, { size: 1, root: new Uint8Array(0) }, [])).toBe(false)
    expect(verifyInclusion(leaf, 0, head(2), [new Uint8Array(31)])).toBe(false)
    expect(verifyConsistency({ size: 1, root: new Uint8Array(31) }, head(2), [leaf])).toBe(false)
    expect(() => consistencyRanges(2, 1)).toThrow(RangeError)
  })

  it('sizes beyond 32 bits keep their places', () => {
    const size = 2 ** 40 + 5
    expect(completeSubtrees({ begin: 0, end: size })).toEqual([
      { height: 40, index: 0 },
      { height: 2, index: 2 ** 38 },
      { height: 0, index: 2 ** 40 + 4 },
    ])
    expect(inclusionRanges(2 ** 40, size)).toHaveLength(4)
    const proof = Array.from({ length: 41 }, () => LEAVES[0] as Uint8Array)
    expect(
      verifyInclusion(LEAVES[0] as Uint8Array, 2 ** 40 - 1, { size, root: LEAVES[0] as Uint8Array }, proof),
    ).toBe(false)
  })
})

describe('tiles', () => {
  it.each([
    [0, '000'],
    [67, '067'],
    [1000, 'x001/000'],
    [1234067, 'x001/x234/067'],
  ])('tile %i is at %s', (n, place) => {
    expect(tilePath({ level: 0, n, width: 256 })).toBe(`tile/0/${place}`)
    expect(tilePath({ level: 12, n, width: 7 })).toBe(`tile/12/${place}.p/7`)
    expect(bundlePath({ n, width: 256 })).toBe(`tile/entries/${place}`)
    expect(parseTilePath(`tile/12/${place}.p/7`)).toEqual({ level: 12, n, width: 7 })
    expect(parseTilePath(`tile/entries/${place}`)).toEqual({ level: 'entries', n, width: 256 })
  })

  it.each([
    'tile/0/67',
    'tile/0/0067',
    'tile/0/x000/067',
    'tile/0/001/067',
    'tile/0/x001/x234',
    'tile/00/067',
    'tile/64/067',
    'tile/-1/067',
    'tile/0/067.p/0',
    'tile/0/067.p/256',
    'tile/0/067.p/07',
    'tile/0/067/',
    '/tile/0/067',
    'tile/data/067',
    'tile/0/x999/x999/x999/x999/x999/x999/999',
  ])('%s is no path of a tile', (path) => {
    expect(parseTilePath(path)).toBeUndefined()
  })

  it('of a tree of 70 000 are those that the specification counts', () => {
    const at = (level: number): Tile[] => [...tilesAt(level, 70_000)]
    expect(at(0)).toHaveLength(274)
    expect(at(0).at(-1)).toEqual({ level: 0, n: 273, width: 112 })
    expect(at(1)).toEqual([
      { level: 1, n: 0, width: 256 },
      { level: 1, n: 1, width: 17 },
    ])
    expect(at(2)).toEqual([{ level: 2, n: 0, width: 1 }])
    expect(at(3)).toEqual([])
  })

  it('hold every subtree that a proof can ask for', () => {
    const leaves = Array.from({ length: 70_000 }, (_, index) => treeHasher.leaf(entry(index)))
    const levels: Uint8Array[][] = [leaves]
    const whole = new NaiveTree(leaves, sha256)
    for (let level = 1; level < 3; level++) {
      levels.push(
        [...tilesAt(level - 1, 70_000)]
          .filter(({ width }) => width === TILE_WIDTH)
          .map(({ n }) =>
            tileRoot(concat(...(levels[level - 1] ?? []).slice(n * TILE_WIDTH, (n + 1) * TILE_WIDTH))),
          ),
      )
    }
    const readTile: SubtreeReader = (name) => {
      const { level, n, width } = tileOf(name, 70_000)
      const hashes = (levels[level] ?? []).slice(n * TILE_WIDTH, n * TILE_WIDTH + width)
      return subtreeInTile(name, concat(...hashes))
    }
    for (const [index, size] of [
      [0, 70_000],
      [69_999, 70_000],
      [65_535, 65_536],
      [65_536, 70_000],
      [12_345, 69_889],
    ] as const) {
      const root = whole.root(0, size)
      const proof = readProof(inclusionRanges(index, size), readTile)
      expect(verifyInclusion(leaves[index] as Uint8Array, index, { size, root }, proof)).toBe(true)
      const consistency = readProof(consistencyRanges(index + 1, size), readTile)
      const old = { size: index + 1, root: whole.root(0, index + 1) }
      expect(verifyConsistency(old, { size, root }, consistency)).toBe(true)
    }
  })

  it('too narrow or not full tiles give nothing', () => {
    const hashes = concat(...LEAVES.slice(0, 200))
    expect(() => tileRoot(hashes)).toThrow(RangeError)
    expect(() => subtreeInTile({ height: 7, index: 1 }, hashes)).toThrow(RangeError)
    expect(toHex(subtreeInTile({ height: 3, index: 24 }, hashes))).toBe(toHex(naive.root(192, 200)))
  })
})

describe('entry bundles', () => {
  const entries = [new Uint8Array(0), Uint8Array.of(1, 2, 3), new Uint8Array(65_535).fill(7)]

  it('are entries behind their lengths', () => {
    const bundle = encodeBundle(entries)
    expect([...bundle.subarray(0, 7)]).toEqual([0, 0, 0, 3, 1, 2, 3])
    expect(decodeBundle(bundle, 3)).toEqual(entries)
    expect(() => encodeBundle([new Uint8Array(65_536)])).toThrow(RangeError)
  })

  it('are exactly that many, to the byte', () => {
    const bundle = encodeBundle(entries)
    for (const [bytes, width] of [
      [bundle, 2],
      [bundle, 4],
      [bundle.subarray(0, -1), 3],
      [concat(bundle, Uint8Array.of(0)), 3],
      [bundle.subarray(0, 1), 1],
    ] as const)
      expect(decodeBundle(bytes, width)).toBeUndefined()
  })
})
