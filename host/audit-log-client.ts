/** The audit trail as somebody reads it who does not take the gateway's word for it: what comes out of here is in the log that was always there. */

import type { Checkpoint } from '../crypto/checkpoint.ts'
import { auditKeyTranscript, verifyGateway } from '../crypto/gateway-proof.ts'
import { treeHasher } from '../crypto/merkle.ts'
import { verifyInclusion } from '../crypto/merkle-proof.ts'
import type { AuditItem, AuditKeyReply } from '../protocol/audit.ts'
import { decodeEntry, itemOf } from '../protocol/audit-entry.ts'
import type { GatewayProof } from '../protocol/frames.ts'
import type { GatewayKey } from '../protocol/ids.ts'
import {
  type AskConsistency,
  checkContinues,
  noteKeys,
  openCheckpoint,
  readKeptCheckpoint,
} from './audit-checkpoint.ts'
import { EXIT, UserError } from './user-error.ts'

/** What the gateway answers, unverified. */
export interface AuditSource {
  key(): Promise<AuditKeyReply>
  checkpoint(): Promise<string>
  readonly consistency: AskConsistency
  /** Undefined if the gateway says that there is no such entry. */
  inclusion(index: number, size: number): Promise<readonly Uint8Array[] | undefined>
  /** The entry's bytes. @throws UserError if it is not there or not there any more. */
  entry(index: number): Promise<Uint8Array>
}

/** What was believed the last time. */
export interface KnownLog {
  readonly origin: string
  readonly keys: readonly GatewayKey[]
  /** The newest checkpoint, as it was signed. */
  readonly checkpoint?: string | undefined
}

/** Keeps what is known, for one gateway. */
export interface AuditMemory {
  /** The log that it had the last time. */
  origin(): string | undefined
  /** What is known of a log, whichever gateway served it. */
  read(origin: string): KnownLog | undefined
  write(known: KnownLog): void
}

export interface VerifiedCheckpoint extends Checkpoint {
  /** As it was signed. */
  readonly note: string
  /** Keys whose signature counts. */
  readonly keys: readonly GatewayKey[]
}

export class AuditLogClient {
  readonly #source: AuditSource
  readonly #memory: AuditMemory
  #verified: Promise<VerifiedCheckpoint> | undefined

  constructor(source: AuditSource, memory: AuditMemory) {
    this.#source = source
    this.#memory = memory
  }

  /** Signed, and a continuation of whatever was believed before; it is what is believed from then on. @throws UserError */
  async checkpoint(): Promise<VerifiedCheckpoint> {
    this.#verified = this.#verify()
    return this.#verified
  }

  /** That entry, once it is proven to be in the log. @throws UserError */
  async verifiedEntry(index: number): Promise<AuditItem> {
    const bytes = await this.#source.entry(index)
    let checkpoint = await (this.#verified ?? this.checkpoint())
    if (index >= checkpoint.size) checkpoint = await this.checkpoint()
    const proof = await this.#source.inclusion(index, checkpoint.size)
    const leaf = treeHasher.leaf(bytes)
    if (proof === undefined || !verifyInclusion(leaf, index, checkpoint, proof)) throw notIncluded(index)
    const entry = decodeEntry(bytes)
    if (entry === undefined) throw notIncluded(index)
    return itemOf(index, entry)
  }

  async #verify(): Promise<VerifiedCheckpoint> {
    const { origin, gateway } = await this.#source.key()
    const before = this.#memory.origin()
    if (before !== undefined && before !== origin) throw otherLog(before, origin)
    const known = this.#memory.read(origin)
    const keys = await signers(origin, gateway, known?.keys)
    const note = await this.#source.checkpoint()
    const opened = await openCheckpoint(note, origin, noteKeys(origin, keys))
    if (!opened.ok) throw opened.error
    const kept = known?.checkpoint === undefined ? undefined : readKeptCheckpoint(known.checkpoint)
    if (kept !== undefined) {
      const continues = await checkContinues(kept, opened.value, this.#source.consistency)
      if (!continues.ok) throw continues.error
    }
    this.#memory.write({ origin, keys, checkpoint: note })
    return { ...opened.value, note, keys }
  }
}

/** Whose signature counts: the keys that are known, and what they have announced. The first time, that of whoever has the certificate. */
async function signers(
  origin: string,
  gateway: GatewayProof,
  known: readonly GatewayKey[] = [gateway.key],
): Promise<readonly GatewayKey[]> {
  const keys = await verifyGateway(gateway, auditKeyTranscript(origin), known)
  if (keys === undefined) throw otherKey()
  return keys
}

const notIncluded = (index: number): UserError =>
  new UserError({
    code: 'E_AUDIT_ENTRY',
    message: `entry ${index} is not in the audit trail that the gateway has signed`,
    why: 'what the gateway shows as this entry has no proof',
    fix: 'claw audit verify',
    exitCode: EXIT.failure,
  })

const otherLog = (known: string, now: string): UserError =>
  new UserError({
    code: 'E_AUDIT_ORIGIN',
    message: 'this gateway has another audit trail than the one it had',
    why: `it was ${known}, and is ${now}`,
    fix: 'if the fleet was founded anew: claw audit verify --new-log',
    exitCode: EXIT.failure,
  })

const otherKey = (): UserError =>
  new UserError({
    code: 'E_GATEWAY_KEY',
    message: "whoever answers does not hold the key that has signed this gateway's audit trail",
    why: 'somebody with a trusted certificate is in between, or the gateway has a new key that it did not announce',
    fix: 'ask whoever runs the gateway for its key: claw audit verify --key VERIFIER_KEY',
    exitCode: EXIT.auth,
  })
