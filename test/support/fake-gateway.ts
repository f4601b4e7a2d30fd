/**
 * A gateway for tests of the agent: true TLS, true WebSockets, every proof verified, every secret sealed; and it misbehaves on request.
 * It shares the protocol's schemas with the real one, and none of its code.
 */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { SignJWT } from 'jose'
import { WebSocketServer } from 'ws'
import { sealDelivery } from '../../crypto/delivery.ts'
import { nodeIdOf } from '../../crypto/node-id.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { fleetIpv6Prefix, nodeIpv6, numberToIpv4 } from '../../protocol/addresses.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { EnrolBody, type EnrolReply, JOIN_JWT_TYPE, NodeSecretsBody } from '../../protocol/http.ts'
import { FleetId, type IdentityKey, type SealingKey, SecretName } from '../../protocol/ids.ts'
import { FakeProofs, type ProvenRequest, type VerifiedEnrolment, verifyEnrolment } from './fake-proofs.ts'
import { FakeSession } from './fake-session.ts'

interface Credentials {
  /** PEM, all three. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

interface FakeSecret {
  readonly value: Uint8Array
  readonly allowed: boolean
}

export class FakeGateway {
  readonly fleet = FleetId.parse('abcdefghijklmnopqrstuvwxyz')
  readonly secrets = new Map<string, FakeSecret>()
  readonly nodes = new Map<string, EnrolReply>()
  /** Path of every request, in order. */
  readonly requests: string[] = []
  /** Every session upgrade is answered with this. */
  refusal: { readonly code: ErrorCode; readonly headers?: Record<string, string> } | undefined
  /** Enrolments that are done and whose answer is then lost. */
  lostAnswers = 0
  now: () => number = () => Date.now()
  readonly #ca: string
  readonly #server: Server
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  readonly #proofs = new FakeProofs()
  readonly #identities = new Map<string, IdentityKey>()
  readonly #sealing = new Map<string, SealingKey>()
  readonly #sessions: FakeSession[] = []
  #wanted: ((session: FakeSession) => void)[] = []

  private constructor({ ca, cert, key }: Credentials) {
    this.#ca = ca
    this.#server = createServer({ cert, key }, (request, response) => void this.#serve(request, response))
    this.#server.on('upgrade', (request, socket, head) => void this.#upgrade(request, socket, head))
  }

  static async start(credentials: Credentials): Promise<FakeGateway> {
    const gateway = new FakeGateway(credentials)
    gateway.#server.listen(0, '127.0.0.1')
    await once(gateway.#server, 'listening')
    return gateway
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** A join token as `claw token create` makes it: the agent needs only its type and the CA in it. */
  joinToken(): Promise<string> {
    const key = new Uint8Array(32).fill(7)
    return new SignJWT({ ca: this.#ca }).setProtectedHeader({ alg: 'HS256', typ: JOIN_JWT_TYPE }).sign(key)
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
    const node = this.nodes.get(session.node)
    if (node === undefined) throw new Error('a session of a node that never enrolled')
    await session.register({ fleet: this.fleet, ip4: node.ipv4, time: this.now() }, heartbeatMs)
    return session
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request)
    const route = `${request.method} ${request.url}`
    this.requests.push(route)
    if (route === 'POST /v1/enrol') return this.#enrol(request, response, body)
    if (route === 'POST /v1/node/secrets') return this.#deliver(request, response, body)
    this.#refuse(response, 'E_NOT_FOUND')
  }

  async #enrol(request: IncomingMessage, response: ServerResponse, body: Uint8Array): Promise<void> {
    const [, token = ''] = (request.headers.authorization ?? '').split(' ')
    const { request: jws } = EnrolBody.parse(parse(body))
    const enrolment = await verifyEnrolment(jws, { token, origin: this.url, now: this.now() })
    if (!enrolment.ok) return this.#refuse(response, enrolment.error)
    const reply = await this.#record(enrolment.value)
    if (this.lostAnswers-- > 0) return void response.destroy()
    answer(response, 201, reply)
  }

  async #record({ identity, seal, name }: VerifiedEnrolment): Promise<EnrolReply> {
    const id = await nodeIdOf(identity)
    const before = this.nodes.get(id)
    if (before !== undefined) return before
    const reply: EnrolReply = {
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
    this.#identities.set(id, identity)
    this.#sealing.set(id, seal)
    return reply
  }

  async #deliver(request: IncomingMessage, response: ServerResponse, body: Uint8Array): Promise<void> {
    const proof = await this.#proofs.verify(this.#proven(request, body), this.#identities)
    if (!proof.ok) return this.#refuse(response, proof.error)
    const sealTo = this.#sealing.get(proof.value.sub)
    if (sealTo === undefined) return this.#refuse(response, 'E_NODE_UNKNOWN')
    const items = []
    for (const name of NodeSecretsBody.parse(parse(body)).names) {
      const secret = this.secrets.get(name)
      if (secret === undefined) return this.#refuse(response, 'E_SECRET_NOT_FOUND')
      if (!secret.allowed) return this.#refuse(response, 'E_SECRET_DENIED')
      const value = SecretBytes.take(new Uint8Array(secret.value))
      const binding = {
        fleet: this.fleet,
        name: SecretName.parse(name),
        version: 1,
        request: proof.value.jti,
      }
      items.push({ name, version: 1, sealed: await sealDelivery(sealTo, value, binding) })
    }
    answer(response, 200, { fleet: this.fleet, items })
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    this.requests.push(`${request.method} ${request.url}`)
    const proof = await this.#proofs.verify(this.#proven(request, new Uint8Array()), this.#identities)
    const code = this.refusal?.code ?? (proof.ok ? undefined : proof.error)
    if (code !== undefined || !proof.ok) {
      const headers = Object.entries(this.refusal?.headers ?? {}).map(
        ([name, value]) => `${name}: ${value}\r\n`,
      )
      const body = JSON.stringify(this.#problem(code ?? 'E_INTERNAL'))
      const start = `HTTP/1.1 ${ERRORS[code ?? 'E_INTERNAL'].status} Refused\r\nconnection: close\r\n`
      return void socket.end(
        `${start}${headers.join('')}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      )
    }
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const session = new FakeSession(webSocket, proof.value.sub)
      const wanted = this.#wanted.shift()
      if (wanted === undefined) this.#sessions.push(session)
      else wanted(session)
    })
  }

  #proven(request: IncomingMessage, body: Uint8Array): ProvenRequest {
    const { method = '', url: path = '' } = request
    return {
      authorization: request.headers.authorization,
      method,
      path,
      body,
      origin: this.url,
      now: this.now(),
    }
  }

  #refuse(response: ServerResponse, code: ErrorCode): void {
    answer(response, ERRORS[code].status, this.#problem(code))
  }

  #problem(code: ErrorCode) {
    const { status, title } = ERRORS[code]
    return { type: 'about:blank', title, status, code, requestId: 'req_test', time: this.now() }
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const parse = (body: Uint8Array): unknown => JSON.parse(Buffer.from(body).toString())
