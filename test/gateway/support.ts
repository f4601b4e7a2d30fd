/** Speaks to the gateway as administrators and nodes do, inside workerd. */
import { applyD1Migrations } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { utf8 } from '../../crypto/bytes.ts'
import { Identity, tokenHash } from '../../crypto/identity.ts'
import { nodeIdOf } from '../../crypto/node-id.ts'
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { ApiKeyCreateReply } from '../../protocol/api-keys.ts'
import { GatewayFrame, PING, type RegisterFrame } from '../../protocol/frames.ts'
import { EnrolReply, type TokenCreateBody, TokenCreateReply } from '../../protocol/http.ts'
import { type NodeId, NodeName, SealingKey, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Role } from '../../protocol/roles.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'

export const ORIGIN = 'https://gateway.test'

export const migrate = () => applyD1Migrations(env.DB, env.TEST_MIGRATIONS)

export const call = (path: string, init?: RequestInit): Promise<Response> =>
  exports.default.fetch(new Request(ORIGIN + path, init))

export const admin = (method: string, path: string, body?: BodyInit | object): Promise<Response> =>
  withToken(env.TEST_ADMIN_TOKEN, method, path, body)

export function withToken(
  token: string,
  method: string,
  path: string,
  body?: BodyInit | object,
): Promise<Response> {
  const isJson = body !== undefined && typeof body === 'object' && !(body instanceof Uint8Array)
  return call(path, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body !== undefined && { body: isJson ? JSON.stringify(body) : (body as BodyInit) }),
  })
}

/** The token of a new API key. */
export async function apiKey(name: string, role: Role, ttlMs?: number): Promise<string> {
  const made = await admin('POST', '/v1/api-keys', { name, role, ttlMs })
  return ApiKeyCreateReply.parse(await made.json()).token
}

/** The newest entries of the audit trail, without the one that this look makes. */
export async function auditEntries(limit = 10): Promise<Record<string, unknown>[]> {
  const reply = await (await admin('GET', `/v1/audit?limit=${limit + 1}`)).json()
  return (reply as { items: Record<string, unknown>[] }).items.slice(1)
}

/** Status and code of a refusal, for `toEqual`. */
export async function refusalOf(response: Response): Promise<{ status: number; code: unknown }> {
  const { code } = (await response.json()) as { code?: unknown }
  return { status: response.status, code }
}

export async function createToken(body: TokenCreateBody = {}): Promise<string> {
  return TokenCreateReply.parse(await (await admin('POST', '/v1/tokens', body)).json()).token
}

export const newWireguardKey = async (): Promise<WireGuardKey> =>
  WireGuardKey.parse(await x25519PublicKey(generateX25519()))

/** A machine with its keys, enrolled or not. */
export class TestNode {
  readonly identity: Identity
  readonly id: NodeId
  readonly wg: WireGuardKey
  readonly seal: SealingKey
  readonly sealing: SecretBytes
  #generation = 0

  private constructor(
    identity: Identity,
    id: NodeId,
    wg: WireGuardKey,
    seal: SealingKey,
    sealing: SecretBytes,
  ) {
    this.identity = identity
    this.id = id
    this.wg = wg
    this.seal = seal
    this.sealing = sealing
  }

  static async make(): Promise<TestNode> {
    const identity = await Identity.fromSeed(Identity.generateSeed())
    const sealing = generateX25519()
    return new TestNode(
      identity,
      await nodeIdOf(identity.publicKey),
      await newWireguardKey(),
      SealingKey.parse(await x25519PublicKey(sealing)),
      sealing,
    )
  }

  async enrol(token: string, name = 'node', origin = ORIGIN): Promise<Response> {
    const claims = {
      name: NodeName.parse(name),
      wg: this.wg,
      seal: this.seal,
      agent: 'test/1',
      token: await tokenHash(token),
    }
    return this.presentEnrolment(token, await this.identity.signEnrolment(claims, origin, Date.now()))
  }

  presentEnrolment(token: string, request: string): Promise<Response> {
    return call('/v1/enrol', {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify({ request }),
    })
  }

  async proof(method: string, path: string, body = '', origin = ORIGIN, now = Date.now()) {
    return this.identity.signProof({ node: this.id, origin, method, path, body: utf8(body) }, now)
  }

  async upgrade(jwt?: string): Promise<Response> {
    const proof = jwt ?? (await this.proof('GET', '/v1/session')).jwt
    return call('/v1/session', { headers: { upgrade: 'websocket', authorization: `Claw ${proof}` } })
  }

  async open(jwt?: string): Promise<TestSession> {
    const response = await this.upgrade(jwt)
    if (response.webSocket === null) throw new Error(`no socket: ${response.status} ${await response.text()}`)
    return new TestSession(response.webSocket)
  }

  /** The frame that registers this node's next session. */
  register(): RegisterFrame {
    this.#generation += 1
    const generation = this.#generation
    return {
      type: 'register',
      protocol: PROTOCOL_VERSION,
      agent: 'test/1',
      mesh: false,
      generation,
      channel: 'none',
    }
  }

  /** An open session that has registered. */
  async connect(register: Partial<RegisterFrame> = {}): Promise<TestSession> {
    const session = await this.open()
    session.send({ ...this.register(), mesh: true, ...register })
    await session.next('registered')
    return session
  }
}

/** A new node, enrolled with a token of its own. */
export async function enrolled(
  name = 'node',
  token?: TokenCreateBody,
): Promise<TestNode & { reply: EnrolReply }> {
  const node = await TestNode.make()
  const reply = EnrolReply.parse(await (await node.enrol(await createToken(token), name)).json())
  return Object.assign(node, { reply })
}

export class TestSession {
  readonly socket: WebSocket
  readonly closed: Promise<{ code: number; reason: string }>
  readonly #received: unknown[] = []
  #wake: () => void = () => undefined
  #ended = false

  constructor(socket: WebSocket) {
    this.socket = socket
    socket.addEventListener('message', ({ data }) => {
      this.#received.push(data)
      this.#wake()
    })
    this.closed = new Promise((resolve) => {
      socket.addEventListener('close', ({ code, reason }) => {
        this.#ended = true
        this.#wake()
        socket.close()
        resolve({ code, reason })
      })
    })
    socket.accept()
  }

  send(frame: object | string | ArrayBuffer): void {
    const isRaw = typeof frame === 'string' || frame instanceof ArrayBuffer
    this.socket.send(isRaw ? frame : JSON.stringify(frame))
  }

  /** The next frame of that type; those before it are dropped. */
  async next<T extends GatewayFrame['type']>(type: T): Promise<Extract<GatewayFrame, { type: T }>> {
    for (;;) {
      const frame = GatewayFrame.parse(JSON.parse(String(await this.nextRaw())))
      if (frame.type === type) return frame as Extract<GatewayFrame, { type: T }>
    }
  }

  /** What the map says of that node next, and is as wanted. */
  async nextPeer(
    { id }: { readonly id: NodeId },
    isWanted: (peer: MeshPeer) => boolean = () => true,
  ): Promise<MeshPeer> {
    for (;;) {
      const { put = [] } = await this.next('mesh')
      const peer = put.find((one) => one.id === id && isWanted(one))
      if (peer !== undefined) return peer
    }
  }

  /** The next message as it came. */
  async nextRaw(): Promise<unknown> {
    while (this.#received.length === 0) {
      if (this.#ended) throw new Error('the session closed before the expected frame')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#received.shift()
  }

  async heartbeat(): Promise<unknown> {
    this.send(PING)
    return this.nextRaw()
  }

  close(): void {
    this.socket.close(1000)
  }
}
