/**
 * A node that speaks the true protocol over TLS and does nothing else: true keys, true proofs, a true session. It is the load of the
 * benchmarks; a frame is looked at only as far as the benchmark needs, so that the load costs less than what it measures.
 */
import { once } from 'node:events'
import { TLSSocket } from 'node:tls'
import type { WebSocket } from 'ws'
import { type Answer, parseAnswer } from '../agent/gateway-answer.ts'
import { utf8 } from '../crypto/bytes.ts'
import { importSealingKey } from '../crypto/hpke.ts'
import { Identity, tokenHash } from '../crypto/identity.ts'
import { sealMeshAnswer } from '../crypto/mesh-answer.ts'
import { nodeIdOf } from '../crypto/node-id.ts'
import type { SecretBytes } from '../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../crypto/x25519.ts'
import type { GatewayConnection } from '../host/gateway-connection.ts'
import { spkiSha256 } from '../host/pins.ts'
import {
  type AnswerFrame,
  GatewayFrame,
  type MeshQuestion,
  PING,
  PONG,
  type RegisterFrame,
  type RequestFrame,
  type SessionPath,
} from '../protocol/frames.ts'
import { EnrolReply } from '../protocol/http.ts'
import { type FleetId, type NodeId, NodeName, SealingKey, WireGuardKey } from '../protocol/ids.ts'
import type { MeshPosition } from '../protocol/mesh.ts'
import type { MeshAnswer } from '../protocol/mesh-report.ts'
import { NodeSecretsReply } from '../protocol/secrets.ts'
import { PROTOCOL_VERSION } from '../protocol/version.ts'

/** RFC 6455's clients count so: a socket that is still opening takes nothing. */
const OPEN = 1

const TELEMETRY = JSON.stringify({
  uptimeSeconds: 86_400,
  load1: 1.5,
  memoryTotalBytes: 2 ** 39,
  memoryFreeBytes: 2 ** 38,
  cpuPercent: 40,
})

interface SignedRequest {
  readonly method: string
  readonly path: SessionPath
  readonly proof: string
  readonly headers: Record<string, string>
  readonly body: string
}

export class SimulatedNode {
  readonly id: NodeId
  readonly name: NodeName
  readonly #gateway: GatewayConnection
  readonly #identity: Identity
  readonly #wg: WireGuardKey
  readonly #seal: SealingKey
  /** By which it answers. */
  sealing: SecretBytes
  #fleet: FleetId | undefined
  #socket: WebSocket | undefined
  #generation = 0
  #n = 0
  readonly #asked = new Map<number, (answer: Answer) => void>()

  acks = 0
  pongs = 0
  errors = 0
  meshBytes = 0
  /** Of every frame that came. */
  bytes = 0
  /** Called with each mesh frame as it came. */
  onMesh: ((text: string) => void) | undefined
  /** What it answers when somebody asks of its mesh. */
  onQuestion: ((question: MeshQuestion) => MeshAnswer) | undefined
  /** Called when a secret has changed. */
  onSecret: (() => unknown) | undefined

  private constructor(fields: {
    gateway: GatewayConnection
    identity: Identity
    id: NodeId
    name: NodeName
    wg: WireGuardKey
    seal: SealingKey
    sealing: SecretBytes
  }) {
    this.id = fields.id
    this.name = fields.name
    this.#gateway = fields.gateway
    this.#identity = fields.identity
    this.#wg = fields.wg
    this.#seal = fields.seal
    this.sealing = fields.sealing
  }

  static async make(gateway: GatewayConnection, name: string): Promise<SimulatedNode> {
    const identity = await Identity.fromSeed(Identity.generateSeed())
    const sealing = generateX25519()
    return new SimulatedNode({
      gateway,
      identity,
      id: await nodeIdOf(identity.publicKey),
      name: NodeName.parse(name),
      wg: WireGuardKey.parse(await x25519PublicKey(generateX25519())),
      seal: SealingKey.parse(await x25519PublicKey(sealing)),
      sealing,
    })
  }

  async enrol(token: string): Promise<void> {
    const claims = {
      name: this.name,
      wg: this.#wg,
      seal: this.#seal,
      agent: 'bench/1',
      token: await tokenHash(token),
    }
    const request = await this.#identity.signEnrolment(claims, this.#gateway.url.origin, Date.now())
    const { fleet } = await this.#gateway.call(EnrolReply, {
      method: 'POST',
      path: '/v1/enrol',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ request }),
    })
    this.#fleet = fleet
  }

  /** Opens the session; resolves when registered. */
  async connect(options: { readonly mesh: boolean; readonly at?: MeshPosition | undefined }): Promise<void> {
    const { headers, jti } = await this.#prove('GET', '/v1/session', '')
    const socket = this.#gateway.webSocket('/v1/session', headers)
    this.#socket = socket
    let spki = ''
    socket.on('upgrade', ({ socket }) => {
      const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
      if (certificate !== undefined) spki = spkiSha256(certificate, 'base64url')
    })
    const registered = new Promise<void>((resolve, reject) => {
      socket.on('message', (data) => {
        const text = data.toString()
        this.bytes += text.length
        if (text === PONG) this.pongs++
        else if (text.startsWith('{"type":"ack"')) this.acks++
        else if (text.startsWith('{"type":"answer"')) this.#answered(text)
        else if (text.startsWith('{"type":"mesh",')) {
          this.meshBytes += text.length
          this.onMesh?.(text)
        } else if (text.startsWith('{"type":"mesh_')) void this.#answer(text)
        else if (text.startsWith('{"type":"secret_changed"')) this.onSecret?.()
        else if (text.startsWith('{"type":"registered"')) resolve()
        else if (text.startsWith('{"type":"error"')) {
          this.errors++
          reject(new Error(text))
        }
      })
      socket.on('error', reject)
      socket.on('close', (code) => reject(new Error(`closed with ${code}`)))
    })
    registered.catch(() => undefined)
    await Promise.race([once(socket, 'open'), registered])
    socket.send(
      JSON.stringify({
        type: 'register',
        protocol: PROTOCOL_VERSION,
        agent: 'bench/1',
        mesh: options.mesh,
        generation: ++this.#generation,
        ...(options.at && { at: options.at }),
        channel: await this.#identity.signChannel({ jti, spki }),
      } satisfies RegisterFrame),
    )
    await registered
  }

  ping(): void {
    if (this.#socket?.readyState === OPEN) this.#socket.send(PING)
  }

  telemetry(n: number): void {
    this.#socket?.send(`{"type":"telemetry","n":${n},"telemetry":${TELEMETRY}}`)
  }

  /** Says that it has applied the map of this place. */
  acknowledge(at: MeshPosition, hash: string): void {
    this.#socket?.send(JSON.stringify({ type: 'mesh_ack', ...at, hash }))
  }

  async #answer(text: string): Promise<void> {
    const question = GatewayFrame.parse(JSON.parse(text)) as MeshQuestion
    const answer = this.onQuestion?.(question)
    if (answer === undefined || this.#fleet === undefined) return
    const { request, sealTo } = question
    const about = { fleet: this.#fleet, node: this.id, request }
    const sealed = await sealMeshAnswer(sealTo, answer, about, await importSealingKey(this.sealing))
    this.#socket?.send(JSON.stringify({ type: 'mesh_answer', request, sealed }))
  }

  /** A secret, sealed to this node; whether it opens is the tests' business. Over the session, if there is one. @returns its version. */
  async fetchSecret(name: string, signed?: SignedRequest): Promise<number> {
    const request = signed ?? (await this.signFetch(name))
    const { items } =
      this.#socket === undefined
        ? await this.#gateway.call(NodeSecretsReply, request)
        : parseAnswer(NodeSecretsReply, await this.#ask(this.#socket, request))
    return items[0]?.version ?? 0
  }

  #ask(socket: WebSocket, { path, proof, body }: SignedRequest): Promise<Answer> {
    const n = this.#n++
    return new Promise((resolve) => {
      this.#asked.set(n, resolve)
      socket.send(JSON.stringify({ type: 'request', n, path, proof, body } satisfies RequestFrame))
    })
  }

  #answered(text: string): void {
    const { n, status, body } = JSON.parse(text) as AnswerFrame
    this.#asked.get(n)?.({ status, body: utf8(body) })
    this.#asked.delete(n)
  }

  /** Signed beforehand, so that the load's own signatures are not measured. */
  async signFetch(name: string): Promise<SignedRequest> {
    const body = JSON.stringify({ secrets: [{ name }] })
    const path = '/v1/node/secrets'
    const { headers, jwt } = await this.#prove('POST', path, body)
    return { method: 'POST', path, proof: jwt, headers, body }
  }

  close(): void {
    this.#socket?.terminate()
  }

  async #prove(
    method: string,
    path: string,
    body: string,
  ): Promise<{ headers: Record<string, string>; jti: string; jwt: string }> {
    const origin = this.#gateway.url.origin
    const { jwt, jti } = await this.#identity.signProof(
      { node: this.id, origin, method, path, body: utf8(body) },
      Date.now(),
    )
    return { headers: { authorization: `Claw ${jwt}` }, jti, jwt }
  }
}
