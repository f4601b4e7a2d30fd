/** Every proof in trees of up to 300 leaves, by brute force; with Node's own SHA-256, which makes that a matter of seconds. */
import { hash } from 'node:crypto'
import { expect, it } from 'vitest'
import { TreeHasher } from '../../crypto/merkle.ts'
import {
  consistencyRanges,
  inclusionRanges,
  readProof,
  verifyConsistency,
  verifyInclusion,
} from '../../crypto/merkle-proof.ts'
import { NaiveTree } from '../support/naive-tree.ts'

const MAX = 300
const sha256 = (bytes: Uint8Array): Uint8Array => hash('sha256', bytes, 'buffer')
const hasher = new TreeHasher(sha256)
const LEAVES = Array.from({ length: MAX + 1 }, (_, index) => hasher.leaf(Buffer.from(`entry ${index}`)))
const tree = new NaiveTree(LEAVES, sha256)
const leafAt = (index: number): Uint8Array => LEAVES[index] as Uint8Array
const other = leafAt(MAX)

it('every leaf of every size has a proof that holds, for it alone', () => {
  const wrong: string[] = []
  for (let size = 1; size <= MAX; size++) {
    for (let index = 0; index < size; index++) {
      const proof = readProof(inclusionRanges(index, size), tree.read, hasher)
      const holds = (
        at: number,
        leaf: Uint8Array,
        root: Uint8Array,
        hashes: readonly Uint8Array[],
        claimed = size,
      ) => verifyInclusion(leaf, at, { size: claimed, root }, hashes, hasher)
      const { root } = tree.head(size)
      const leaf = leafAt(index)
      if (!holds(index, leaf, root, proof)) wrong.push(`${index} in ${size} does not hold`)
      if (
        holds((index + 1) % (size + 1), leaf, root, proof) ||
        holds(index, leafAt(index + 1), root, proof) ||
        holds(index, leaf, other, proof) ||
        holds(index, leaf, root, [...proof, leaf]) ||
        holds(index, leaf, root, proof, 2 * size) ||
        (proof.length > 0 && holds(index, leaf, root, proof.slice(1)))
      )
        wrong.push(`${index} in ${size} holds for another`)
    }
  }
  expect(wrong).toEqual([])
})

it('every pair of sizes has a proof that holds, and for no other root', () => {
  const wrong: string[] = []
  for (let to = 0; to <= MAX; to++) {
    for (let from = 0; from <= to; from++) {
      const [old, now] = [tree.head(from), tree.head(to)]
      const proof = readProof(consistencyRanges(from, to), tree.read, hasher)
      if (!verifyConsistency(old, now, proof, hasher)) wrong.push(`${from} in ${to} does not hold`)
      if (
        verifyConsistency({ ...old, root: other }, now, proof, hasher) ||
        // From nothing everything follows: there is no proof that could name the new root.
        (from > 0 && verifyConsistency(old, { ...now, root: other }, proof, hasher)) ||
        (from > 0 && verifyConsistency(old, { ...now, size: 2 * to }, proof, hasher)) ||
        verifyConsistency(old, now, [...proof, other], hasher) ||
        (proof.length > 0 && verifyConsistency(old, now, proof.slice(0, -1), hasher)) ||
        (from < to && verifyConsistency(now, old, proof, hasher))
      )
        wrong.push(`${from} in ${to} holds for another`)
    }
  }
  expect(wrong).toEqual([])
})
