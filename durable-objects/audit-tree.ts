/**
 * The log as it is stored: entries, one row each, and full tiles of hashes, one row for each 256 of them. The right edge, which still grows, is
 * only in memory, and made anew from the rows when the object starts.
 */
import { concat } from '../crypto/bytes.ts'
import { CompactRange, HASH_BYTES, treeHasher } from '../crypto/merkle.ts'
import {
  consistencyRanges,
  inclusionRanges,
  readProof,
  readRange,
  type SubtreeReader,
  type TreeHead,
} from '../crypto/merkle-proof.ts'
import { subtreeInTile, TILE_WIDTH, type Tile, tileOf, tileRoot } from '../crypto/merkle-tiles.ts'
import { MAX_KNOWN_SUBTREES } from '../protocol/limits.ts'
import type { Sql } from './sql.ts'

/** The platform binds up to 100 values to a statement. */
const ENTRIES_PER_STATEMENT = 50

export class AuditTree {
  readonly #sql: Sql
  readonly #range = new CompactRange()
  /** Hashes of the partial tile of each level. */
  readonly #edge: Uint8Array[][] = []
  /** Roots of complete subtrees, which never change: proofs of one time ask for mostly the same. */
  readonly #known = new Map<string, Uint8Array>()

  /** Not yet written. */
  #added: Uint8Array[] = []

  private constructor(sql: Sql) {
    this.#sql = sql
  }

  static load(sql: Sql): AuditTree {
    const tree = new AuditTree(sql)
    tree.#load()
    return tree
  }

  get size(): number {
    return this.#range.size
  }

  /** The new entry's index is the size before. Call in a transaction that `store` ends; if it fails, this tree is no longer true. */
  append(entry: Uint8Array): number {
    const index = this.size
    const leaf = treeHasher.leaf(entry)
    this.#added.push(entry)
    this.#range.append(leaf)
    this.#add(0, leaf)
    return index
  }

  /** Writes the entries that were appended, many by one statement. */
  store(): void {
    const first = this.size - this.#added.length
    for (let from = 0; from < this.#added.length; from += ENTRIES_PER_STATEMENT) {
      const some = this.#added.slice(from, from + ENTRIES_PER_STATEMENT)
      this.#sql.run(
        `INSERT INTO entries (entry, bytes) VALUES ${some.map(() => '(?, ?)').join(', ')}`,
        ...some.flatMap((entry, index) => [first + from + index, bufferOf(entry)]),
      )
    }
    this.#added = []
  }

  head(): TreeHead {
    return { size: this.size, root: this.#range.root() }
  }

  /** Undefined for a size that the log has not had yet. */
  headAt(size: number): TreeHead | undefined {
    if (size > this.size) return undefined
    return { size, root: readRange({ begin: 0, end: size }, this.#read) }
  }

  /** Undefined unless there are such a leaf and such a size. */
  inclusion(index: number, size: number): Uint8Array[] | undefined {
    if (size > this.size || index >= size) return undefined
    return readProof(inclusionRanges(index, size), this.#read)
  }

  /** Undefined unless there are such sizes. */
  consistency(from: number, to: number): Uint8Array[] | undefined {
    if (from > to || to > this.size) return undefined
    return readProof(consistencyRanges(from, to), this.#read)
  }

  /** The first hashes of a tile, also of one that has more by now; undefined if it has fewer. */
  tile({ level, n, width }: Tile): Uint8Array | undefined {
    const edge = this.#edge[level] ?? []
    const full = Math.floor(this.size / TILE_WIDTH ** (level + 1))
    if (n === full) return width <= edge.length ? concat(...edge.slice(0, width)) : undefined
    return n < full ? this.#storedTile(level, n).subarray(0, width * HASH_BYTES) : undefined
  }

  readonly #read: SubtreeReader = (name) => {
    const key = `${name.height}/${name.index}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const tile = this.tile(tileOf(name, this.size))
    if (tile === undefined) throw new Error(`the audit trail lacks the subtree ${key}`)
    const root = subtreeInTile(name, tile)
    if (this.#known.size >= MAX_KNOWN_SUBTREES) this.#known.clear()
    this.#known.set(key, root)
    return root
  }

  #add(level: number, hash: Uint8Array): void {
    const edge = this.#edge[level] ?? []
    this.#edge[level] = edge
    edge.push(hash)
    if (edge.length < TILE_WIDTH) return
    const hashes = concat(...edge)
    const root = tileRoot(hashes)
    const n = Math.floor(this.size / TILE_WIDTH ** (level + 1)) - 1
    this.#sql.run(
      'INSERT INTO tiles (level, n, root, hashes) VALUES (?, ?, ?, ?)',
      level,
      n,
      bufferOf(root),
      bufferOf(hashes),
    )
    edge.length = 0
    this.#add(level + 1, root)
  }

  #storedTile(level: number, n: number): Uint8Array {
    const row = this.#sql.first<{ hashes: ArrayBuffer }>(
      'SELECT hashes FROM tiles WHERE level = ? AND n = ?',
      level,
      n,
    )
    if (row === undefined) throw new Error(`the audit trail lacks tile ${level}/${n}`)
    return new Uint8Array(row.hashes)
  }

  /** From the top down, as the range wants its subtrees: at each level, the tiles below it that no tile of its own has gathered. */
  #load(): void {
    const levels =
      this.#sql.first<{ level: number | null }>('SELECT MAX(level) AS level FROM tiles')?.level ?? -1
    for (let level = levels + 1; level > 0; level--) {
      const roots = this.#sql.all<{ root: ArrayBuffer }>(
        'SELECT root FROM tiles WHERE level = ? AND n >= ? ORDER BY n',
        level - 1,
        this.size / TILE_WIDTH ** level,
      )
      this.#edge[level] = roots.map(({ root }) => new Uint8Array(root))
      for (const root of this.#edge[level] ?? []) this.#range.appendSubtree(root, TILE_WIDTH ** level)
    }
    this.#edge[0] = this.#sql
      .all<{ entry: number; bytes: ArrayBuffer }>(
        'SELECT entry, bytes FROM entries WHERE entry >= ? ORDER BY entry',
        this.size,
      )
      .map(({ entry, bytes }, offset) => {
        if (entry !== this.size + offset) throw new Error(`the audit trail lacks entry ${this.size + offset}`)
        return treeHasher.leaf(new Uint8Array(bytes))
      })
    for (const leaf of this.#edge[0]) this.#range.append(leaf)
  }
}

/** Exactly these bytes, not those around them. */
const bufferOf = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer
