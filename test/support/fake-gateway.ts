/**
 * A gateway for tests of the agent: true TLS, true WebSockets, every proof verified, every secret sealed; and it misbehaves on request.
 * It shares the protocol's schemas with the real one, and none of its code.
 */

import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { WebSocketServer } from 'ws'
import {
  enrolmentTranscript,
  type GatewaySigner,
  type SessionTranscript,
  sessionTranscript,
  signAsGateway,
} from '../../crypto/gateway-proof.ts'
import { bodyHash } from '../../crypto/identity.ts'
import { nodeIdOf } from '../../crypto/node-id.ts'
import { spkiSha256 } from '../../host/pins.ts'
import { fleetIpv6Prefix, nodeIpv6, numberToIpv4 } from '../../protocol/addresses.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { CLOSE, type RegisterFrame, type RequestFrame, type Settings } from '../../protocol/frames.ts'
import {
  EnrolBody,
  type EnrolReply,
  IdentityRotateBody,
  JOIN_JWT_TYPE,
  NodeLeaveBody,
} from '../../protocol/http.ts'
import { FleetId, GatewayKey, type IdentityKey, type SealingKey } from '../../protocol/ids.ts'
import { ANSWER_SIGNATURE_HEADER, PROOF_SCHEME } from '../../protocol/proof.ts'
import { NodeSecretsBody } from '../../protocol/secrets.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'
import {
  type FakeAnswer,
  jsonAnswer,
  problemAnswer,
  sendAnswer,
  sendRefusal,
  signAnswer,
} from './fake-answers.ts'
import {
  FakeProofs,
  type ProvenRequest,
  type VerifiedEnrolment,
  verifyChannel,
  verifyEnrolment,
  verifyRotation,
} from './fake-proofs.ts'
import { deliver, type FakeSecret } from './fake-secrets.ts'
import { FakeSession } from './fake-session.ts'

interface Credentials {
  /** PEM, all three. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** What is looked at of a request, by whatever way it came. */
type Asked = Pick<IncomingMessage, 'method' | 'url' | 'headers'>

export class FakeGateway {
  readonly fleet = FleetId.parse('abcdefghijklmnopqrstuvwxyz')
  readonly secrets = new Map<string, FakeSecret>()
  readonly nodes = new Map<string, Omit<EnrolReply, 'gateway'>>()
  /** Path of every request, in order. */
  readonly requests: string[] = []
  /** Every session upgrade is answered with this. */
  refusal: { readonly code: ErrorCode; readonly headers?: Record<string, string> } | undefined
  /** Every request for secrets is answered with this. */
  secretsRefusal: ErrorCode | undefined
  /** What each request for secrets has called its job. */
  readonly workloads: (string | undefined)[] = []
  /** Whether the owner has asked for a new identity key. */
  rotationAsked = true
  /** Enrolments, rotations and departures that are done and whose answer is then lost. */
  lostAnswers = 0
  /** Who signs as the gateway; an impostor has a key of their own. */
  signer: GatewaySigner
  /** What becomes of a signed answer on its way to the node, in the hands of whoever is in between. */
  onTheWay: (answer: FakeAnswer, authorization: string) => FakeAnswer | Promise<FakeAnswer> = (answer) =>
    answer
  /** Identity keys in force, by node. */
  readonly identities = new Map<string, IdentityKey>()
  /** Nodes that have left. */
  readonly left = new Set<string>()
  now: () => number = () => Date.now()
  readonly #ca: string
  readonly #spki: string
  readonly #server: Server
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  readonly #proofs = new FakeProofs()
  readonly #sealing = new Map<string, SealingKey>()
  readonly #sessions: FakeSession[] = []
  readonly #lookers = new Set<() => void>()
  #port = 0
  #wanted: ((session: FakeSession) => void)[] = []

  private constructor({ ca, cert, key }: Credentials, signer: GatewaySigner) {
    this.signer = signer
    this.#ca = ca
    this.#spki = spkiSha256(new X509Certificate(cert), 'base64url')
    this.#server = createServer({ cert, key }, (request, response) => void this.#serve(request, response))
    this.#server.on('upgrade', (request, socket, head) => void this.#upgrade(request, socket, head))
  }

  static async start(credentials: Credentials, { host = '127.0.0.1', port = 0 } = {}): Promise<FakeGateway> {
    const gateway = new FakeGateway(credentials, await createSigner())
    gateway.#server.listen(port, host)
    await once(gateway.#server, 'listening')
    gateway.#port = (gateway.#server.address() as AddressInfo).port
    return gateway
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}`
  }

  /** Also when it is closed: a request may still be on its way then. */
  get port(): number {
    return this.#port
  }

  /** A join token as `claw token create` makes it. */
  joinToken(): Promise<string> {
    const { key, privateKey } = this.signer
    return new SignJWT({ gk: key, ca: this.#ca })
      .setProtectedHeader({ alg: 'EdDSA', typ: JOIN_JWT_TYPE })
      .sign(privateKey)
  }

  /** The next session that is upgraded, or an earlier one that nobody asked for. */
  session(): Promise<FakeSession> {
    const earlier = this.#sessions.shift()
    if (earlier !== undefined) return Promise.resolve(earlier)
    return new Promise((resolve) => this.#wanted.push(resolve))
  }

  /** The next session, registered. */
  async registered(heartbeatMs?: number): Promise<FakeSession> {
    const session = await this.session()
    const register = await session.frame('register')
    if (!(await this.#sawOurCertificate(session, register))) {
      session.send({ type: 'error', code: 'E_CHANNEL', message: ERRORS.E_CHANNEL.title })
      session.close(CLOSE.intercepted)
      return session
    }
    await this.confirm(session, register, heartbeatMs)
    return session
  }

  /** Answers a `register`, signed. @param signed what the signature is about instead. */
  async confirm(
    session: FakeSession,
    { generation }: RegisterFrame,
    heartbeatMs = 15_000,
    signed: Partial<SessionTranscript> = {},
  ): Promise<void> {
    const node = this.nodes.get(session.node)
    if (node === undefined) throw new Error('a session of a node that never enrolled')
    const answer = { protocol: PROTOCOL_VERSION, fleet: this.fleet, time: this.now() }
    const { node: id, proof } = session
    const leaseMs = 7 * 24 * 60 * 60_000
    const transcript = sessionTranscript({ ...answer, leaseMs, node: id, proof, generation, ...signed })
    const settings: Settings = { heartbeatMs, telemetryMs: 60_000, stun: [], relays: [], leaseMs }
    session.send({
      type: 'registered',
      ...answer,
      ip4: node.ipv4,
      settings,
      gateway: await signAsGateway(this.signer, transcript),
    })
  }

  /** Resolves once this was requested so often. */
  requested(route: string, times: number): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.requests.filter((request) => request === route).length < times) return
        this.#lookers.delete(look)
        resolve()
      }
      this.#lookers.add(look)
      look()
    })
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #noteRequest(request: string): void {
    this.requests.push(request)
    for (const look of this.#lookers) look()
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request)
    const route = `${request.method} ${request.url}`
    this.#noteRequest(route)
    const answer = await this.#answer(route, request, body)
    if (answer === undefined) response.destroy()
    else sendAnswer(response, await this.#signed(answer, request))
  }

  /** A request over a session is one like any other. */
  async #carry(session: FakeSession, { n, path: url, proof, body }: RequestFrame): Promise<void> {
    const request = { method: 'POST', url, headers: { authorization: `${PROOF_SCHEME} ${proof}` } }
    const route = `POST ${url}`
    this.#noteRequest(route)
    const answer = await this.#answer(route, request, Buffer.from(body))
    if (answer === undefined) return session.terminate()
    const { status, body: answered, headers } = await this.#signed(answer, request)
    session.send({
      type: 'answer',
      n,
      status,
      body: answered,
      signature: headers[ANSWER_SIGNATURE_HEADER] ?? '',
    })
  }

  /** Undefined if the answer is lost on its way. */
  #answer(route: string, request: Asked, body: Uint8Array): Promise<FakeAnswer | undefined> | FakeAnswer {
    if (route === 'POST /v1/enrol') return this.#enrol(request, body)
    if (route === 'POST /v1/node/secrets') return this.#deliver(request, body)
    if (route === 'POST /v1/node/identity') return this.#rotate(request, body)
    if (route === 'POST /v1/node/leave') return this.#leave(request, body)
    return this.#refusal('E_NOT_FOUND')
  }

  async #enrol(request: Asked, body: Uint8Array): Promise<FakeAnswer | undefined> {
    const [, token = ''] = (request.headers.authorization ?? '').split(' ')
    const { request: jws } = EnrolBody.parse(parse(body))
    const enrolment = await verifyEnrolment(jws, { token, origins: this.#origins, now: this.now() })
    if (!enrolment.ok) return this.#refusal(enrolment.error)
    const node = await this.#record(enrolment.value)
    if (this.lostAnswers-- > 0) return undefined
    const transcript = enrolmentTranscript(await bodyHash(Buffer.from(jws)), node)
    return jsonAnswer(201, { ...node, gateway: await signAsGateway(this.signer, transcript) })
  }

  async #record({ identity, seal, name }: VerifiedEnrolment): Promise<Omit<EnrolReply, 'gateway'>> {
    const [known] = [...this.identities].find(([, key]) => key === identity) ?? []
    const id = await nodeIdOf(identity)
    const before = this.nodes.get(known ?? id)
    if (before !== undefined) return before
    const reply = {
      id,
      name,
      fleet: this.fleet,
      fleetName: 'test-fleet',
      ipv4: numberToIpv4(10 * 2 ** 24 + 100 * 2 ** 16 + this.nodes.size + 1),
      ipv4Range: '10.100.0.0/16',
      ipv6: nodeIpv6(this.fleet, id),
      ipv6Range: fleetIpv6Prefix(this.fleet),
      tags: [],
    }
    this.nodes.set(id, reply)
    this.identities.set(id, identity)
    this.#sealing.set(id, seal)
    return reply
  }

  async #deliver(request: Asked, body: Uint8Array): Promise<FakeAnswer> {
    const proof = await this.#proofs.verify(this.#proven(request, body), this.identities)
    if (!proof.ok) return this.#refusal(proof.error)
    const sealTo = this.#sealing.get(proof.value.sub)
    if (sealTo === undefined) return this.#refusal('E_NODE_UNKNOWN')
    if (this.secretsRefusal !== undefined) return this.#refusal(this.secretsRefusal)
    const asked = NodeSecretsBody.parse(parse(body))
    this.workloads.push(asked.workload)
    const reader = { fleet: this.fleet, sealTo, request: proof.value.jti }
    const reply = await deliver(this.secrets, asked, reader)
    return reply.ok ? jsonAnswer(200, reply.value) : this.#refusal(reply.error.code, reply.error.detail)
  }

  async #rotate(request: Asked, body: Uint8Array): Promise<FakeAnswer | undefined> {
    const proof = await this.#proofs.verify(this.#proven(request, body), this.identities)
    if (!proof.ok) return this.#refusal(proof.error)
    const { sub: node } = proof.value
    const { request: jws } = IdentityRotateBody.parse(parse(body))
    const identity = await verifyRotation(jws, { node, origins: this.#origins })
    if (identity === undefined) return this.#refusal('E_ENROL_INVALID')
    if (this.identities.get(node) !== identity && !this.rotationAsked)
      return this.#refusal('E_ROTATION_NOT_ASKED')
    this.identities.set(node, identity)
    if (this.lostAnswers-- > 0) return undefined
    return jsonAnswer(200, { identity })
  }

  async #leave(request: Asked, body: Uint8Array): Promise<FakeAnswer | undefined> {
    const proof = await this.#proofs.verify(this.#proven(request, body), this.identities)
    if (!proof.ok) return this.#refusal(proof.error)
    const { sub: node } = proof.value
    if (this.left.has(node)) return this.#refusal('E_NODE_REMOVED')
    NodeLeaveBody.parse(parse(body))
    this.left.add(node)
    if (this.lostAnswers-- > 0) return undefined
    return jsonAnswer(200, { left: node })
  }

  async #sawOurCertificate(session: FakeSession, register: RegisterFrame): Promise<boolean> {
    const key = this.identities.get(session.node)
    const seen = key && (await verifyChannel(register.channel, key))
    return seen?.jti === session.proof && seen.spki === this.#spki
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    this.#noteRequest(`${request.method} ${request.url}`)
    const proof = await this.#proofs.verify(this.#proven(request, new Uint8Array()), this.identities)
    const code = this.refusal?.code ?? (proof.ok ? undefined : proof.error)
    if (code !== undefined || !proof.ok) {
      const refusal = this.#refusal(code ?? 'E_INTERNAL')
      const headers = { ...refusal.headers, ...this.refusal?.headers }
      return sendRefusal(socket, await this.#signed({ ...refusal, headers }, request))
    }
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const session = new FakeSession(webSocket, proof.value, (frame) => void this.#carry(session, frame))
      const wanted = this.#wanted.shift()
      if (wanted === undefined) this.#sessions.push(session)
      else wanted(session)
    })
  }

  /** Also as whoever is in between is called. */
  get #origins(): readonly string[] {
    return [this.url, `https://127.0.0.2:${this.port}`]
  }

  #proven(request: Asked, body: Uint8Array): ProvenRequest {
    const { method = '', url: path = '' } = request
    return {
      authorization: request.headers.authorization,
      method,
      path,
      body,
      origins: this.#origins,
      now: this.now(),
    }
  }

  async #signed(answer: FakeAnswer, { headers }: Asked): Promise<FakeAnswer> {
    const { authorization = '' } = headers
    return this.onTheWay(await signAnswer(answer, authorization, this.signer), authorization)
  }

  #refusal(code: ErrorCode, detail?: string): FakeAnswer {
    return problemAnswer(code, this.now(), detail)
  }
}

/** A gateway's key. */
export async function createSigner(next?: GatewayKey): Promise<GatewaySigner> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  return { key: GatewayKey.parse((await exportJWK(publicKey)).x), privateKey, next }
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const parse = (body: Uint8Array): unknown => JSON.parse(Buffer.from(body).toString())
