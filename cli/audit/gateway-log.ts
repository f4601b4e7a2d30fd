/** The audit trail as a gateway serves it: its files, and the answers of its API. Nothing of it is verified here. */
import { setTimeout as wait } from 'node:timers/promises'
import { fromBase64, utf8 } from '../../crypto/bytes.ts'
import type { LogFiles } from '../../host/audit-files.ts'
import type { AuditSource } from '../../host/audit-log-client.ts'
import { parseProblem, problemToUserError } from '../../host/problem.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { AuditEntryReply, AuditKeyReply, AuditProofReply } from '../../protocol/audit.ts'
import { parseJson } from '../../protocol/json.ts'
import type { AdminClient } from '../admin-client.ts'

/** A log of a million entries is more requests than the gateway takes at once. */
const MAX_RATE_WAITS = 60
const RATE_WAIT_MS = 5_000

export class GatewayLog implements AuditSource, LogFiles {
  readonly #client: AdminClient

  constructor(client: AdminClient) {
    this.#client = client
  }

  async key(): Promise<AuditKeyReply> {
    return parseReply(AuditKeyReply, await this.#get('key'))
  }

  async checkpoint(): Promise<string> {
    return new TextDecoder().decode(await this.#get('checkpoint'))
  }

  readonly consistency = async (from: number, to: number): Promise<readonly Uint8Array[] | undefined> =>
    this.#proof(`consistency?from=${from}&to=${to}`)

  async inclusion(index: number, size: number): Promise<readonly Uint8Array[] | undefined> {
    return this.#proof(`inclusion?index=${index}&size=${size}`)
  }

  async entry(index: number): Promise<Uint8Array> {
    return utf8(parseReply(AuditEntryReply, await this.#get(String(index))).text)
  }

  async read(path: string): Promise<Uint8Array | 'archived' | undefined> {
    try {
      return await this.#get(path)
    } catch (error) {
      if (codeOf(error) === 'E_AUDIT_ARCHIVED') return 'archived'
      if (codeOf(error) === 'E_AUDIT_NOT_FOUND') return undefined
      throw error
    }
  }

  async #proof(path: string): Promise<readonly Uint8Array[] | undefined> {
    const answer = await this.read(path)
    if (!(answer instanceof Uint8Array)) return undefined
    return parseReply(AuditProofReply, answer).proof.map((hash) => fromBase64(hash) ?? new Uint8Array())
  }

  async #get(path: string): Promise<Uint8Array> {
    for (let waits = 0; ; waits++) {
      const { status, body } = await this.#client.get(`/v1/audit/${path}`)
      if (status < 300) return body
      if (status !== 429 || waits === MAX_RATE_WAITS) throw refused(status, body)
      await wait(RATE_WAIT_MS)
    }
  }
}

function parseReply<T>(schema: { safeParse(value: unknown): { data?: T } }, body: Uint8Array): T {
  const { data } = schema.safeParse(parseJson(body))
  if (data === undefined) throw unexpected('its answer has another form; are both of one version?')
  return data
}

function refused(status: number, body: Uint8Array): UserError {
  const problem = parseProblem(body)
  return problem === undefined ? unexpected(`it answers ${status}`) : problemToUserError(problem)
}

const unexpected = (why: string): UserError =>
  new UserError({
    code: 'E_GATEWAY_ANSWER',
    message: 'what answers is not a gateway that this program understands',
    why,
    fix: "check the gateway's address",
    exitCode: EXIT.failure,
  })

const codeOf = (error: unknown): string | undefined => (error instanceof UserError ? error.code : undefined)
