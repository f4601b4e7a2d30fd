/** A node's signed requests to its gateway. What answers is believed, also in a refusal, only if it has the gateway's signature for that request. */

import type * as z from 'zod'
import { utf8 } from '../crypto/bytes.ts'
import type { Identity } from '../crypto/identity.ts'
import type { GatewayConnection } from '../host/gateway-connection.ts'
import { parseProblem } from '../host/problem.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import {
  IdentityRotateReply,
  NodeLeaveReply,
  RelayGrantReply,
  type WireguardKeyBody,
  WireguardKeyReply,
} from '../protocol/http.ts'
import type { FleetId, NodeId, SecretName } from '../protocol/ids.ts'
import { PROOF_SCHEME } from '../protocol/proof.ts'
import type { WorkloadName } from '../protocol/secret-policy.ts'
import { type NodeSecretsBody, NodeSecretsReply } from '../protocol/secrets.ts'
import { type Answer, authenticate, parseAnswer, type ReceivedAnswer, sendSigned } from './gateway-answer.ts'
import type { GatewayClock } from './gateway-clock.ts'
import type { GatewayKeys } from './gateway-keys.ts'
import type { NodeKeys } from './node-keys.ts'
import { openReceived, type ReceivedSecret } from './secrets/received.ts'
import type { SecretReference } from './secrets/reference.ts'
import type { CarriedRequest } from './session/session-requests.ts'

interface Options {
  readonly connection: GatewayConnection
  readonly node: NodeId
  /** The fleet this node joined. */
  readonly fleet: FleetId
  readonly keys: NodeKeys
  readonly gatewayKeys: GatewayKeys
  readonly clock: GatewayClock
}

interface Proof {
  readonly headers: Record<string, string>
  readonly jti: string
  /** All of it: what the gateway's answer must name. */
  readonly jwt: string
}

interface FetchOptions {
  /** What the job calls itself. */
  readonly workload?: WorkloadName | undefined
  readonly timeoutMs?: number | undefined
  /** A way to the gateway that is tried first; undefined if it does not lead there. */
  readonly carry?: ((request: CarriedRequest) => Promise<ReceivedAnswer | undefined>) | undefined
}

interface Signed {
  readonly answer: Answer
  /** Of the request's proof. */
  readonly jti: string
}

interface PostOptions {
  readonly signer?: Identity
  readonly timeoutMs?: number | undefined
}

const NOTHING = new Uint8Array()
const SECRETS_PATH = '/v1/node/secrets' satisfies CarriedRequest['path']
const RELAY_GRANT_PATH = '/v1/node/relay-grant'
const IDENTITY_PATH = '/v1/node/identity'
const LEAVE_PATH = '/v1/node/leave'
const WIREGUARD_PATH = '/v1/node/wireguard-key'

export class NodeClient {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  /** All of the secrets or none, in one request that names none twice. The caller wipes them. */
  async fetchSecrets(
    asked: readonly SecretReference[],
    { workload, timeoutMs, carry }: FetchOptions = {},
  ): Promise<Map<SecretName, ReceivedSecret>> {
    const { clock, keys, fleet } = this.#options
    const body: z.input<typeof NodeSecretsBody> = {
      secrets: asked.map(({ name, version }) => ({ name, version })),
      workload,
    }
    const { answer, jti } = await sendSigned(
      clock,
      async (now) =>
        (await this.#carried(SECRETS_PATH, body, now, carry)) ??
        this.#post(SECRETS_PATH, body, now, { timeoutMs }),
    )
    const reply = parseAnswer(NodeSecretsReply, answer)
    if (reply.fleet !== fleet) throw otherFleet()
    return openReceived(asked, reply.items, { fleet, request: jti, sealing: keys.sealing })
  }

  /** What the gateway has at that path for this node, signed by it; its refusals too. */
  async get(path: string): Promise<Answer> {
    const { clock, keys, connection } = this.#options
    const { answer } = await sendSigned(clock, async (now) => {
      const proof = await this.#prove(keys.identity, 'GET', path, NOTHING, now)
      return this.#accept(await connection.request({ method: 'GET', path, headers: proof.headers }), proof)
    })
    return answer
  }

  /** Headers for a session upgrade, and the `jti` that names the session from then on. */
  upgradeProof(path: string): Promise<Proof> {
    return this.#prove(this.#options.keys.identity, 'GET', path, NOTHING, this.#options.clock.now())
  }

  /** What this node is allowed at that relay, with those of the peers that it may talk to. */
  async relayGrant(relay: string, peers: readonly NodeId[]): Promise<RelayGrantReply> {
    const { answer } = await sendSigned(this.#options.clock, (now) =>
      this.#post(RELAY_GRANT_PATH, { relay, peers }, now),
    )
    return parseAnswer(RelayGrantReply, answer)
  }

  /** Asks the gateway to know this node by its next key. @param signer whose proof it shall be: the key in force, or the next one itself. */
  async rotateIdentity(next: Identity, signer: Identity): Promise<void> {
    const { clock, connection, node } = this.#options
    const { answer } = await sendSigned(clock, async (now) => {
      const request = await next.signRotation(node, connection.url.origin, now)
      return this.#post(IDENTITY_PATH, { request }, now, { signer })
    })
    const { identity } = parseAnswer(IdentityRotateReply, answer)
    if (identity !== next.publicKey) throw otherKey('identity')
  }

  /** Tells the gateway of this node's next WireGuard key, or that the node uses it. */
  async tellWireguardKey(told: WireguardKeyBody): Promise<void> {
    const { answer } = await sendSigned(this.#options.clock, (now) => this.#post(WIREGUARD_PATH, told, now))
    const { wireguard, next } = parseAnswer(WireguardKeyReply, answer)
    if ((told.step === 'announce' ? next : wireguard) !== told.key) throw otherKey('WireGuard')
  }

  /** Takes this node out of its fleet, for good. */
  async leave(): Promise<void> {
    const { answer } = await sendSigned(this.#options.clock, (now) => this.#post(LEAVE_PATH, {}, now))
    parseAnswer(NodeLeaveReply, answer)
  }

  /** Undefined if it could not be carried, or its answer could not. */
  async #carried(
    path: CarriedRequest['path'],
    value: unknown,
    now: number,
    carry: FetchOptions['carry'],
  ): Promise<Signed | undefined> {
    if (carry === undefined) return undefined
    const body = JSON.stringify(value)
    const proof = await this.#prove(this.#options.keys.identity, 'POST', path, utf8(body), now)
    const received = await carry({ path, proof: proof.jwt, body })
    if (received === undefined) return undefined
    const signed = await this.#accept(received, proof)
    return isTooLarge(signed.answer) ? undefined : signed
  }

  async #post(
    path: string,
    value: unknown,
    now: number,
    { signer = this.#options.keys.identity, timeoutMs }: PostOptions = {},
  ): Promise<Signed> {
    const body = utf8(JSON.stringify(value))
    const proof = await this.#prove(signer, 'POST', path, body, now)
    const headers = { ...proof.headers, 'content-type': 'application/json' }
    const received = await this.#options.connection.request({
      method: 'POST',
      path,
      headers,
      body,
      ...(timeoutMs !== undefined && { timeoutMs }),
    })
    return this.#accept(received, proof)
  }

  /** By whatever way it came. @throws UserError if the gateway itself has not given it to this very request. */
  async #accept(received: ReceivedAnswer, { jwt, jti }: Proof): Promise<Signed> {
    const answer = await authenticate(received, jwt, this.#options.gatewayKeys)
    if (!answer.ok) throw answer.error
    return { answer: answer.value, jti }
  }

  async #prove(
    signer: Identity,
    method: string,
    path: string,
    body: Uint8Array,
    now: number,
  ): Promise<Proof> {
    const { connection, node } = this.#options
    const { origin } = connection.url
    const { jwt, jti } = await signer.signProof({ node, origin, method, path, body }, now)
    return { headers: { authorization: `${PROOF_SCHEME} ${jwt}` }, jti, jwt }
  }
}

const isTooLarge = ({ status, body }: Answer): boolean =>
  status >= 300 && parseProblem(body)?.code === ('E_ANSWER_TOO_LARGE' satisfies ErrorCode)

const otherKey = (kind: string): UserError =>
  new UserError({
    code: 'E_GATEWAY_ANSWER',
    message: `the gateway answered with another ${kind} key than the one it was given`,
    exitCode: EXIT.failure,
  })

const otherFleet = (): UserError =>
  new UserError({
    code: 'E_GATEWAY_ANSWER',
    message: "the gateway answered for another fleet than this node's",
    fix: 'ask whoever runs the gateway; a node of a fleet that was founded anew joins again from an empty directory',
    exitCode: EXIT.failure,
  })
