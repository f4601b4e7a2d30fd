/** A copy of the whole trail in a directory, in the layout of C2SP tlog-tiles: any server of files could serve it as the log. */
import { bundlePath, TILE_WIDTH, type Tile, tilePath, tilesAt } from '../../crypto/merkle-tiles.ts'
import { CHECKPOINT_FILE, LogDirectory, type LogFiles } from '../../host/audit-files.ts'
import type { VerifiedCheckpoint } from '../../host/audit-log-client.ts'
import { verifyLog } from '../../host/audit-verify.ts'
import { nodeSha256 } from '../../host/sha256.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { AuditTrail } from './trail.ts'
import { keptCheckpoint } from './verify-trail.ts'

const AT_ONCE = 8

export interface Archived {
  readonly checkpoint: VerifiedCheckpoint
  /** Files that were not there before. */
  readonly added: number
}

/** Adds what is missing, and verifies all of it as it lies there. @throws UserError */
export async function archiveTrail(trail: AuditTrail, path: string): Promise<Archived> {
  const directory = new LogDirectory(path)
  const kept = keptCheckpoint(trail)
  const checkpoint = await trail.log.checkpoint()
  const added = await copyMissing(trail.files, directory, checkpoint.size)
  const verified = await verifyLog({
    files: directory,
    checkpoint,
    known: kept === undefined ? [] : [kept],
    sha256: nodeSha256,
  })
  if (!verified.ok) throw verified.error
  directory.write(CHECKPOINT_FILE, checkpoint.note)
  for (const [full] of filesOf(checkpoint.size)) directory.removePartial(full)
  return { checkpoint, added }
}

async function copyMissing(files: LogFiles, directory: LogDirectory, size: number): Promise<number> {
  let added = 0
  const names = filesOf(size)
  const lane = async (): Promise<void> => {
    for (const [, name] of names) {
      if (directory.has(name)) continue
      const content = await files.read(name)
      if (!(content instanceof Uint8Array)) throw unavailable(name, content)
      directory.write(name, content)
      added++
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return added
}

/** What a log of that size consists of: of each file the name it has once it is full, and the one it has now. */
function* filesOf(size: number): Generator<readonly [string, string]> {
  const named = (tile: Tile, name: (tile: Tile) => string): readonly [string, string] => [
    name({ ...tile, width: TILE_WIDTH }),
    name(tile),
  ]
  for (const tile of tilesAt(0, size)) yield named(tile, bundlePath)
  for (let level = 0; size >= TILE_WIDTH ** level; level++)
    for (const tile of tilesAt(level, size)) yield named(tile, tilePath)
}

const unavailable = (name: string, content: 'archived' | undefined): UserError =>
  new UserError({
    code: content === undefined ? 'E_AUDIT_MISSING' : 'E_AUDIT_ARCHIVED',
    message: `${name} is not to be had from the gateway`,
    why: content === undefined ? 'it has no such file' : 'its entries are in an earlier archive',
    fix:
      content === undefined
        ? undefined
        : 'name the directory of that archive: what is missing is added there',
    exitCode: EXIT.failure,
  })
