/** Verifies the whole trail: signature, tree, every checkpoint that is known, and that the stores hold what it says. */

import type { Checkpoint } from '../../crypto/checkpoint.ts'
import { readKeptCheckpoint } from '../../host/audit-checkpoint.ts'
import { eitherOf, LogDirectory, type LogFiles, readFileIfThere } from '../../host/audit-files.ts'
import type { VerifiedCheckpoint } from '../../host/audit-log-client.ts'
import { verifyLog } from '../../host/audit-verify.ts'
import { nodeSha256 } from '../../host/sha256.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { AuditItem } from '../../protocol/audit.ts'
import { actionOf, decodeEntry, itemOf } from '../../protocol/audit-entry.ts'
import type { AuditCrossCheck } from './cross-check.ts'
import type { AuditTrail } from './trail.ts'

export interface VerifyTrailOptions {
  /** Older checkpoints, each a file with a note. */
  readonly from: readonly string[]
  /** Where entries are that the gateway has no more. */
  readonly archive: string | undefined
  readonly withoutArchived: boolean
  readonly checks: readonly AuditCrossCheck[]
  /** Told of all entries, in order, once their hashes are right. */
  readonly onEntries?: (first: number, entries: readonly Uint8Array[]) => void
}

export interface TrailVerdict {
  readonly checkpoint: VerifiedCheckpoint
  /** Older checkpoints that it continues. */
  readonly continued: number
  readonly unread: number
  /** What is wrong with the stores, by the name of the check. */
  readonly checks: readonly { readonly name: string; readonly problems: readonly string[] }[]
}

/** @throws UserError naming the first entry or tile that is wrong. */
export async function verifyTrail(trail: AuditTrail, options: VerifyTrailOptions): Promise<TrailVerdict> {
  const given = options.from.map(readCheckpointFile)
  const kept = keptCheckpoint(trail)
  const checkpoint = await trail.log.checkpoint()
  for (const { path, origin } of given) if (origin !== checkpoint.origin) throw ofAnotherLog(path, origin)
  const known = [...given, ...(kept === undefined ? [] : [kept])]
  const wanted = new WantedEntries(options.checks)
  const verified = await verifyLog({
    files: filesOf(trail.files, options.archive),
    checkpoint,
    known,
    sha256: nodeSha256,
    withoutArchived: options.withoutArchived,
    onEntries: (first, entries) => {
      wanted.add(first, entries)
      options.onEntries?.(first, entries)
    },
  })
  if (!verified.ok) throw verified.error
  const log = {
    start: verified.value.unread,
    size: checkpoint.size,
    entry: (index: number) => trail.log.verifiedEntry(index),
  }
  const checks = []
  for (const check of options.checks)
    checks.push({ name: check.name, problems: await check.problems(wanted.of(check), log) })
  return { checkpoint, continued: known.length, unread: verified.value.unread, checks }
}

const filesOf = (files: LogFiles, archive: string | undefined): LogFiles =>
  archive === undefined ? files : eitherOf(files, new LogDirectory(archive))

/** Of what is remembered, before it is replaced. */
export function keptCheckpoint({ memory }: AuditTrail): Checkpoint | undefined {
  const origin = memory.origin()
  const note = origin === undefined ? undefined : memory.read(origin)?.checkpoint
  return note === undefined ? undefined : readKeptCheckpoint(note)
}

/** Entries that a check has asked for; of a million others nothing is kept. */
class WantedEntries {
  readonly #entries: Map<AuditCrossCheck, AuditItem[]>

  constructor(checks: readonly AuditCrossCheck[]) {
    this.#entries = new Map(checks.map((check) => [check, []]))
  }

  add(first: number, entries: readonly Uint8Array[]): void {
    for (const [offset, bytes] of entries.entries()) {
      const action = actionOf(bytes)
      if (action === undefined) throw notAnEntry(first + offset)
      for (const [check, wanted] of this.#entries) {
        if (!check.wants(action)) continue
        const entry = decodeEntry(bytes)
        if (entry === undefined) throw notAnEntry(first + offset)
        wanted.push(itemOf(first + offset, entry))
      }
    }
  }

  of(check: AuditCrossCheck): readonly AuditItem[] {
    return this.#entries.get(check) ?? []
  }
}

function readCheckpointFile(path: string): Checkpoint & { readonly path: string } {
  const bytes = readFileIfThere(path)
  const checkpoint = bytes && readKeptCheckpoint(Buffer.from(bytes).toString('utf8'))
  if (checkpoint !== undefined) return { ...checkpoint, path }
  throw new UserError({
    code: 'E_CHECKPOINT_FILE',
    message: `${path} holds no checkpoint`,
    why: bytes === undefined ? 'there is no such file' : undefined,
    fix: 'a checkpoint is what `claw audit checkpoint` prints, or `audit-checkpoint` in the state directory of a node',
    exitCode: EXIT.usage,
  })
}

const ofAnotherLog = (path: string, origin: string): UserError =>
  new UserError({
    code: 'E_AUDIT_ORIGIN',
    message: `${path} is a checkpoint of another audit trail`,
    why: `of ${origin}`,
    exitCode: EXIT.failure,
  })

const notAnEntry = (index: number): UserError =>
  new UserError({
    code: 'E_AUDIT_ENTRY',
    message: `entry ${index} of the audit trail is not in the form of an entry`,
    why: 'its hash is right: the gateway has recorded it so',
    exitCode: EXIT.failure,
  })
