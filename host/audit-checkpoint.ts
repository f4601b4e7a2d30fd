/**
 * Following an audit trail: a checkpoint is believed if the gateway has signed it and if it continues the one that was believed before. What
 * contradicts that one is never taken for an outage: two signed checkpoints that cannot both be true are the proof of a changed log.
 */
import { fromBase64Url, toBase64 } from '../crypto/bytes.ts'
import { type Checkpoint, parseCheckpoint } from '../crypto/checkpoint.ts'
import { type TreeHead, verifyConsistency } from '../crypto/merkle-proof.ts'
import { type NoteKey, openNote, readNoteText } from '../crypto/signed-note.ts'
import type { GatewayKey } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { EXIT, UserError } from './user-error.ts'

/** The proof from one size to another, as the gateway answers; undefined if it says that there are no such sizes. */
export type AskConsistency = (from: number, to: number) => Promise<readonly Uint8Array[] | undefined>

/** A gateway signs its log in the log's own name. */
export const noteKeys = (origin: string, keys: readonly GatewayKey[]): NoteKey[] =>
  keys.map((key) => ({ name: origin, key: fromBase64Url(key) ?? new Uint8Array() }))

export async function openCheckpoint(
  note: string,
  origin: string,
  keys: readonly NoteKey[],
): Promise<Result<Checkpoint, UserError>> {
  const opened = await openNote(note, keys)
  if (!opened.ok) return err(notSigned(opened.error))
  const checkpoint = parseCheckpoint(opened.value.text)
  return checkpoint?.origin === origin ? ok(checkpoint) : err(notSigned('of another log'))
}

/** Of a checkpoint that was believed before, and kept where nobody else can write. */
export function readKeptCheckpoint(note: string): Checkpoint | undefined {
  const text = readNoteText(note)
  return text === undefined ? undefined : parseCheckpoint(text)
}

/** Whether `now` continues `known`. @throws what `ask` throws: an outage says nothing of the log. */
export async function checkContinues(
  known: TreeHead,
  now: TreeHead,
  ask: AskConsistency,
): Promise<Result<undefined, UserError>> {
  if (now.size < known.size) return err(rolledBack(known, now))
  if (now.size === known.size)
    return toBase64(now.root) === toBase64(known.root) ? ok(undefined) : err(rolledBack(known, now))
  // Every log begins with nothing.
  if (known.size === 0) return ok(undefined)
  const proof = await ask(known.size, now.size)
  return proof !== undefined && verifyConsistency(known, now, proof) ? ok(undefined) : err(forked(known, now))
}

const notSigned = (why: string): UserError =>
  new UserError({
    code: 'E_AUDIT_SIGNATURE',
    message: "the audit trail's checkpoint is not signed by this gateway",
    why,
    fix: 'ask whoever runs the gateway whether its key has changed',
    exitCode: EXIT.failure,
  })

const KEEP = 'keep both checkpoints: each is signed by the gateway, and they cannot both be true'

export const rolledBack = (known: TreeHead, now: TreeHead): UserError =>
  new UserError({
    code: 'E_AUDIT_ROLLBACK',
    message: 'the audit trail went back to an earlier state',
    why:
      now.size === known.size
        ? `it had other ${known.size} entries before`
        : `it had ${known.size} entries before, and has ${now.size} now`,
    fix: KEEP,
    exitCode: EXIT.failure,
  })

export const forked = (known: TreeHead, now: TreeHead): UserError =>
  new UserError({
    code: 'E_AUDIT_FORK',
    message: `the audit trail was rewritten: its first ${known.size} entries are not what they were`,
    why: `nothing proves that the ${now.size} entries of now begin with those`,
    fix: KEEP,
    exitCode: EXIT.failure,
  })
