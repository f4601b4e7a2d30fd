/**
 * Signed requests that come over a session: the proof of a request, and the gateway's signature on its answer, as over a connection of its own
 * (protocol/proof.ts), without the connection. A new value is asked for by a thousand nodes at once: what arrives together here is looked
 * up together and recorded together.
 */
import { utf8 } from '../crypto/bytes.ts'
import { signAnswer } from '../crypto/gateway-proof.ts'
import { bodyHash } from '../crypto/identity.ts'
import type { ProvenRequest } from '../crypto/request-proof.ts'
import { ERRORS, type Refusal, refusal } from '../protocol/errors.ts'
import type { AnswerFrame, RequestFrame } from '../protocol/frames.ts'
import type { NodeId, SecretName } from '../protocol/ids.ts'
import { MAX_ANSWER_VALUE_BYTES, MAX_GROUPED_CALLS } from '../protocol/limits.ts'
import { orRefuse, RefusedError } from '../protocol/refused-error.ts'
import { parseBody } from '../protocol/request-body.ts'
import { err, type Result } from '../protocol/result.ts'
import { NodeSecretsBody, type NodeSecretsReply } from '../protocol/secrets.ts'
import { readForNode } from '../secrets/node-read.ts'
import { type Found, findSecrets, type Wanted } from '../secrets/rows.ts'
import type { SecretStores } from '../secrets/stores.ts'
import type { Appended, ProvenAppend } from './audit-log.ts'
import { AUDIT_OBJECT, isUnavailable, ObjectCaller } from './call-object.ts'
import { type Config, readConfig } from './config.ts'
import { count } from './counters.ts'
import type { Env } from './env.ts'
import { InGroups } from './in-groups.ts'
import type { Authenticated } from './node-authenticator.ts'
import { problemOf } from './problem.ts'
import { deliverySealer, knownSecrets, secretStores } from './secret-stores.ts'

const MOST = { bytes: MAX_ANSWER_VALUE_BYTES, code: 'E_ANSWER_TOO_LARGE' } as const

interface Options {
  readonly env: Env
  readonly authenticate: (jwt: string, request: ProvenRequest) => Promise<Result<Authenticated, Refusal>>
  /** Runs work after the answer. */
  readonly later: (work: Promise<unknown>) => void
}

export class SessionRequests {
  readonly #options: Options
  readonly #lookUps: InGroups<Wanted, Found | undefined>
  readonly #appends: InGroups<ProvenAppend, Result<Appended, Refusal>>

  constructor(options: Options) {
    const { env } = options
    this.#options = options
    this.#lookUps = new InGroups(MAX_GROUPED_CALLS, (wanted) => findSecrets(env.DB, wanted))
    const auditLog = new ObjectCaller(env.AUDIT_LOG, AUDIT_OBJECT)
    this.#appends = new InGroups(MAX_GROUPED_CALLS, async (appends) => {
      const text = JSON.stringify(appends)
      return JSON.parse(await auditLog.call((log) => log.appendEachProven(text)))
    })
  }

  /** @param node whose session it is, and who must have signed. */
  async answer(node: NodeId, request: RequestFrame): Promise<AnswerFrame> {
    count('requests_by_session')
    const { n, proof } = request
    const config = await readConfig(this.#options.env)
    const requestId = `req_${crypto.randomUUID()}`
    const read = await this.#read(node, request, requestId, config).catch((error: unknown) =>
      err(refusalOf(error, requestId)),
    )
    const status = read.ok ? 200 : ERRORS[read.error.code].status
    const body = JSON.stringify(read.ok ? read.value : problemOf(read.error, requestId))
    const signature = await signAnswer(config.signing, { proof, status, body: utf8(body) })
    return { type: 'answer', n, status, body, signature }
  }

  /** A secret has changed: what is remembered of it would be found outdated by every one of those who ask now. */
  changed(name: SecretName): void {
    knownSecrets(this.#options.env).outdate(name)
  }

  async #read(
    node: NodeId,
    { path, proof: jwt, body }: RequestFrame,
    requestId: string,
    config: Config,
  ): Promise<Result<NodeSecretsReply, Refusal>> {
    const { env, authenticate } = this.#options
    const authenticated = await authenticate(jwt, {
      method: 'POST',
      path,
      bodyHash: await bodyHash(utf8(body)),
    })
    if (!authenticated.ok) return authenticated
    const { node: record, proof } = authenticated.value
    if (record.id !== node) return err(refusal('E_PROOF_SIGNATURE'))
    const wanted = parseBody(body, NodeSecretsBody)
    if (!wanted.ok) return wanted
    const stores = this.#stores(config, { proof, request: requestId })
    const read = { node: record, sealer: deliverySealer, request: proof.jti, requestId, most: MOST }
    return readForNode(stores, knownSecrets(env), wanted.value, read)
  }

  #stores(config: Config, use: Pick<ProvenAppend, 'proof' | 'request'>): SecretStores {
    const { env, later } = this.#options
    const stores = secretStores(env, config, later)
    return {
      ...stores,
      lookUp: (wanted) => Promise.all(wanted.map((one) => this.#lookUps.add(one))),
      trail: {
        ...stores.trail,
        append: async (events) => orRefuse(await this.#appends.add({ events, ...use })),
      },
    }
  }
}

/** The boundary of these requests, as the edge has one: anything but a refusal is found in the log, by the request id. */
function refusalOf(error: unknown, requestId: string): Refusal {
  if (error instanceof RefusedError) return error.refusal
  console.error({ event: 'request_failed', requestId, error: String(error) })
  return refusal(isUnavailable(error) ? 'E_UNAVAILABLE' : 'E_INTERNAL')
}
