/**
 * The node as a witness of the fleet's audit trail: it keeps the newest checkpoint that it has seen, and believes no other that does not
 * continue it. Whoever rewrites the trail has to reach every node's disk as well. It never stops the node's work: what is wrong is said.
 */
import { join } from 'node:path'
import { fromBase64 } from '../crypto/bytes.ts'
import type { Checkpoint } from '../crypto/checkpoint.ts'
import { checkContinues, noteKeys, openCheckpoint, readKeptCheckpoint } from '../host/audit-checkpoint.ts'
import { createPrivateFile, readPrivateFile, writePrivateFile } from '../host/private-file.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { AuditContinuationReply, auditOrigin } from '../protocol/audit.ts'
import type { FleetId, GatewayKey } from '../protocol/ids.ts'
import { WITNESS_INTERVAL_MS, WITNESS_SPREAD_MS } from '../protocol/limits.ts'
import type { Clock, Timer } from './clock.ts'
import { type Answer, parseAnswer } from './gateway-answer.ts'
import type { Log } from './log.ts'

/** A signed note, as the gateway sent it. */
export const CHECKPOINT_FILE = 'audit-checkpoint'
/** The one that contradicts it: the two together are the proof. */
export const REFUSED_FILE = 'audit-checkpoint.refused'

const PATH = '/v1/node/audit/continuation'

interface Options {
  readonly directory: string
  readonly fleet: FleetId
  /** Keys whose signature counts now. */
  readonly keys: () => readonly GatewayKey[]
  /** Answers that the gateway has signed for this node. */
  readonly get: (path: string) => Promise<Answer>
  readonly clock: Clock
  readonly log: Log
}

export interface WitnessStatus {
  /** Entries of the newest checkpoint that is believed; null before the first. */
  readonly entries: number | null
  /** When that was last confirmed, in Unix milliseconds. */
  readonly at: number | null
  /** What is wrong with the trail, until a checkpoint continues the one that is kept. */
  readonly problem: UserError | undefined
}

export class AuditWitness {
  readonly #options: Options
  readonly #path: string
  #timer: Timer | undefined
  #status: WitnessStatus = { entries: null, at: null, problem: undefined }
  #checking: Promise<void> | undefined

  constructor(options: Options) {
    this.#options = options
    this.#path = join(options.directory, CHECKPOINT_FILE)
  }

  get status(): WitnessStatus {
    return this.#status
  }

  connected(): void {
    this.#schedule(this.#options.clock.random() * WITNESS_SPREAD_MS)
  }

  disconnected(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Looks once. Never throws: an outage says nothing, and what is wrong is in the log and the status. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined
    })
    return this.#checking
  }

  #schedule(ms: number): void {
    const { clock } = this.#options
    this.#timer?.cancel()
    this.#timer = clock.after(ms, () => {
      this.#schedule(WITNESS_INTERVAL_MS * (0.75 + clock.random() / 2))
      void this.check()
    })
  }

  async #check(): Promise<void> {
    const { clock, log } = this.#options
    try {
      const { size } = await this.#follow()
      if (this.#status.problem !== undefined) log.info('the audit trail goes on as it was', { entries: size })
      this.#status = { entries: size, at: clock.now(), problem: undefined }
    } catch (error) {
      this.#report(error)
    }
  }

  #report(error: unknown): void {
    const { log } = this.#options
    if (!(error instanceof UserError)) {
      log.error('the checkpoint of the audit trail could not be kept', { problem: String(error) })
      return
    }
    const { code, message, why, fix } = error
    if (ALARMING.has(code)) {
      this.#status = { ...this.#status, problem: error }
      log.error(message, { code, why, fix, kept: this.#path })
    } else {
      log.debug('the audit trail was not looked at', { code, why })
    }
  }

  async #follow(): Promise<Checkpoint> {
    const { fleet, keys, get } = this.#options
    const known = this.#known()
    const answer = await get(`${PATH}?from=${known?.checkpoint.size ?? 0}`)
    const { checkpoint: note, proof } = parseAnswer(AuditContinuationReply, answer)
    const origin = auditOrigin(fleet)
    const opened = await openCheckpoint(note, origin, noteKeys(origin, keys()))
    if (!opened.ok) throw opened.error
    if (known?.note === note) return opened.value
    if (known !== undefined) {
      const continues = await checkContinues(known.checkpoint, opened.value, async () => proof?.map(hashOf))
      if (!continues.ok) {
        this.#keepRefused(note)
        throw continues.error
      }
    }
    writePrivateFile(this.#path, note)
    return opened.value
  }

  #known(): { readonly note: string; readonly checkpoint: Checkpoint } | undefined {
    const bytes = readPrivateFile(this.#path)
    if (bytes === undefined) return undefined
    const note = Buffer.from(bytes).toString('utf8')
    const checkpoint = readKeptCheckpoint(note)
    if (checkpoint === undefined) throw unreadable(this.#path)
    return { note, checkpoint }
  }

  /** The first one; what is refused later says no more. */
  #keepRefused(note: string): void {
    createPrivateFile(join(this.#options.directory, REFUSED_FILE), note)
  }
}

/** Not an outage, but something that somebody has done. */
const ALARMING: ReadonlySet<string> = new Set([
  'E_AUDIT_ROLLBACK',
  'E_AUDIT_FORK',
  'E_AUDIT_SIGNATURE',
  'E_STATE_INVALID',
])

const hashOf = (text: string): Uint8Array => fromBase64(text) ?? new Uint8Array()

const unreadable = (path: string): UserError =>
  new UserError({
    code: 'E_STATE_INVALID',
    message: `${path} holds no checkpoint`,
    why: 'it is what this node has seen of the audit trail',
    fix: `compare it with that of another node; this one begins anew once it is removed`,
    exitCode: EXIT.badConfig,
  })
