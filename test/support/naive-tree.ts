/** MTH of RFC 6962, section 2.1, word for word, over leaf hashes; its subtrees remembered, or it would take minutes. */
import { concat } from '../../crypto/bytes.ts'
import type { Sha256 } from '../../crypto/merkle.ts'
import type { SubtreeReader, TreeHead } from '../../crypto/merkle-proof.ts'

export class NaiveTree {
  readonly #leaves: readonly Uint8Array[]
  readonly #sha256: Sha256
  readonly #known = new Map<string, Uint8Array>()

  constructor(leaves: readonly Uint8Array[], sha256: Sha256) {
    this.#leaves = leaves
    this.#sha256 = sha256
  }

  readonly read: SubtreeReader = ({ height, index }) =>
    this.root(index * 2 ** height, (index + 1) * 2 ** height)

  head(size: number): TreeHead {
    return { size, root: this.root(0, size) }
  }

  root(begin: number, end: number): Uint8Array {
    const name = `${begin}-${end}`
    const known = this.#known.get(name) ?? this.#hash(begin, end)
    this.#known.set(name, known)
    return known
  }

  #hash(begin: number, end: number): Uint8Array {
    const n = end - begin
    if (n === 0) return this.#sha256(new Uint8Array(0))
    if (n === 1) return this.#leaves[begin] as Uint8Array
    let k = 1
    while (k * 2 < n) k *= 2
    return this.#sha256(concat(Uint8Array.of(1), this.root(begin, begin + k), this.root(begin + k, end)))
  }
}
