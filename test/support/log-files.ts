/** A log in memory, as the files that a gateway serves, and the gateway's key to sign it with: for those who tamper with either. */
import { exportJWK, generateKeyPair } from 'jose'
import { fromBase64Url } from '../../crypto/bytes.ts'
import { formatCheckpoint } from '../../crypto/checkpoint.ts'
import { CompactRange, TreeHasher } from '../../crypto/merkle.ts'
import type { TreeHead } from '../../crypto/merkle-proof.ts'
import {
  bundlePath,
  encodeBundle,
  TILE_WIDTH,
  tilePath,
  tileRoot,
  tilesAt,
} from '../../crypto/merkle-tiles.ts'
import { type NoteKey, signNote } from '../../crypto/signed-note.ts'
import { nodeSha256 } from '../../host/sha256.ts'
import { encodeEntry } from '../../protocol/audit-entry.ts'

export const ORIGIN = 'clawbernetes.abcdefghijklmnopqrstuvwxyz/audit'

const hasher = new TreeHasher(nodeSha256)

export const logEntry = (index: number, what = 'secret.read'): Uint8Array =>
  encodeEntry({
    at: 1_800_000_000_000 + index,
    actor: 'node:abcdefghijklmnopqrstuvwxyz',
    action: what,
    target: `secret:app/database/${index % 7}`,
    outcome: 'allowed',
    reason: 'version 3: rule 1 allows tag gpu',
    requestId: `req_0b6a1f1e-7ad2-4b0e-9d9b-${String(index).padStart(12, '0')}`,
    detail: { version: 3 },
  })

export const logEntries = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, index) => logEntry(index))

export type Files = Map<string, Uint8Array>

/** Every tile and bundle of a log with these entries, and its root. */
export function logFiles(entries: readonly Uint8Array[]): { readonly files: Files; readonly head: TreeHead } {
  const files: Files = new Map()
  const range = new CompactRange(hasher)
  let hashes = entries.map((entry) => hasher.leaf(entry))
  for (const leaf of hashes) range.append(leaf)
  for (const { n, width } of tilesAt(0, entries.length))
    files.set(bundlePath({ n, width }), encodeBundle(entries.slice(n * TILE_WIDTH, n * TILE_WIDTH + width)))
  for (let level = 0; hashes.length > 0; level++) {
    const above: Uint8Array[] = []
    for (const tile of tilesAt(level, entries.length)) {
      const content = Buffer.concat(hashes.slice(tile.n * TILE_WIDTH, tile.n * TILE_WIDTH + tile.width))
      files.set(tilePath(tile), content)
      if (tile.width === TILE_WIDTH) above.push(tileRoot(content, hasher))
    }
    hashes = above
  }
  return { files, head: { size: entries.length, root: range.root() } }
}

export class LogSigner {
  readonly key: NoteKey
  readonly #sign: (message: Uint8Array) => Promise<Uint8Array>

  private constructor(key: NoteKey, sign: (message: Uint8Array) => Promise<Uint8Array>) {
    this.key = key
    this.#sign = sign
  }

  static async make(): Promise<LogSigner> {
    const { publicKey, privateKey } = await generateKeyPair('EdDSA', { extractable: true })
    const key = fromBase64Url((await exportJWK(publicKey)).x ?? '') ?? new Uint8Array()
    return new LogSigner(
      { name: ORIGIN, key },
      async (message) =>
        new Uint8Array(await crypto.subtle.sign('Ed25519', privateKey, new Uint8Array(message))),
    )
  }

  note(head: TreeHead, origin = ORIGIN): Promise<string> {
    return signNote(formatCheckpoint({ origin, ...head }), this.key, this.#sign)
  }
}
