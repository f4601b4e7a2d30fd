/** The audit trail: how long it takes to verify a million entries from files, and how fast the object takes new ones. */
import { CompactRange, TreeHasher } from '../crypto/merkle.ts'
import type { TreeHead } from '../crypto/merkle-proof.ts'
import { bundlePath, encodeBundle, TILE_WIDTH, tilePath, tileRoot, tilesAt } from '../crypto/merkle-tiles.ts'
import type { LogFiles } from '../host/audit-files.ts'
import { verifyLog } from '../host/audit-verify.ts'
import { nodeSha256 } from '../host/sha256.ts'
import { encodeEntry } from '../protocol/audit-entry.ts'
import { measureAppends } from './audit-appends.ts'
import type { Figure } from './report.ts'

const APPENDS = 20_000
const WIDTHS = [1, 16, 64, 256]
const hasher = new TreeHasher(nodeSha256)

/** @param entries of the log that is verified. */
export async function benchAudit(entries: number, log: (line: string) => void): Promise<Figure[]> {
  log(`making a log of ${entries} entries`)
  const { files, head, old } = makeLog(entries)
  log('verifying it')
  const begun = performance.now()
  const verified = await verifyLog({ files, checkpoint: head, known: [old], sha256: nodeSha256 })
  const ms = performance.now() - begun
  if (!verified.ok) throw verified.error
  const figures: Figure[] = [
    {
      what: `${entries} entries verified from tiles`,
      value: ms / 1000,
      unit: 's',
      ...(entries === 1_000_000 && { budget: { atMost: 10 } }),
    },
  ]
  log(`${APPENDS} appends, at several widths`)
  for (const { width, perSecond, rowsEach } of await measureAppends(WIDTHS, APPENDS)) {
    const budget = width === 16 ? { budget: { atLeast: 2000 } } : {}
    figures.push({ what: `appends, ${width} in flight`, value: Math.round(perSecond), unit: '/s', ...budget })
    if (width === 16)
      figures.push({ what: 'rows written for 1000 appends', value: Math.round(rowsEach * 1000), unit: '' })
  }
  return figures
}

/** In memory, as a gateway would serve it. `old` is what somebody has kept from the middle of it. */
function makeLog(count: number): { files: LogFiles; head: TreeHead; old: TreeHead } {
  const files = new Map<string, Uint8Array>()
  const range = new CompactRange(hasher)
  let old: TreeHead = { size: 0, root: range.root() }
  let hashes: Uint8Array[] = []
  for (const tile of tilesAt(0, count)) {
    const entries = Array.from({ length: tile.width }, (_, i) => entry(tile.n * TILE_WIDTH + i))
    const leaves = entries.map((bytes) => hasher.leaf(bytes))
    for (const leaf of leaves) range.append(leaf)
    files.set(bundlePath(tile), encodeBundle(entries))
    files.set(tilePath(tile), Buffer.concat(leaves))
    if (tile.width === TILE_WIDTH) hashes.push(tileRoot(Buffer.concat(leaves), hasher))
    if (range.size <= count / 2) old = { size: range.size, root: range.root() }
  }
  for (let level = 1; hashes.length > 0; level++) {
    const above: Uint8Array[] = []
    for (const tile of tilesAt(level, count)) {
      const content = Buffer.concat(hashes.slice(tile.n * TILE_WIDTH, tile.n * TILE_WIDTH + tile.width))
      files.set(tilePath(tile), content)
      if (tile.width === TILE_WIDTH) above.push(tileRoot(content, hasher))
    }
    hashes = above
  }
  return {
    files: { read: async (path) => files.get(path) },
    head: { size: count, root: range.root() },
    old,
  }
}

const entry = (index: number): Uint8Array =>
  encodeEntry({
    at: 1_800_000_000_000 + index,
    actor: 'node:abcdefghijklmnopqrstuvwxyz',
    action: 'secret.read',
    target: 'secret:app/database/password',
    outcome: 'allowed',
    reason: 'version 3: rule 1 allows tag gpu',
    requestId: `req_0b6a1f1e-7ad2-4b0e-9d9b-${String(index).padStart(12, '0')}`,
    detail: { version: 3 },
  })
