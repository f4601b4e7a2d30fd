/** A node whose every message can be spoiled before it is signed: it holds its key itself and signs whatever it is given. */
import { createHash, X509Certificate } from 'node:crypto'
import { CompactSign, exportJWK, generateKeyPair } from 'jose'
import type { WebSocket } from 'ws'
import { randomId } from '../../crypto/bytes.ts'
import { nodeIdOf } from '../../crypto/node-id.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import type { GatewayConnection } from '../../host/gateway-connection.ts'
import { CHANNEL_JWT_TYPE } from '../../protocol/channel.ts'
import { ENROL_JWT_TYPE } from '../../protocol/http.ts'
import { IdentityKey, type NodeId } from '../../protocol/ids.ts'
import { PROOF_JWT_TYPE } from '../../protocol/proof.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'
import type { Json } from './mutate.ts'

const SESSION_PATH = '/v1/session'

interface Gateway {
  readonly connection: GatewayConnection
  /** SHA-256 of the certificate's public key, as a node that sees this certificate states it. */
  readonly spki: string
}

/** @param certificate PEM of what the gateway serves. */
export const describeGateway = (connection: GatewayConnection, certificate: string): Gateway => {
  const { publicKey } = new X509Certificate(certificate)
  return { connection, spki: sha256(publicKey.export({ type: 'spki', format: 'der' })) }
}

export class RawNode {
  readonly id: NodeId
  readonly name: string
  /** Claims of its enrolment, without the token. */
  readonly keys: { readonly wg: string; readonly seal: string }
  readonly #gateway: Gateway
  readonly #privateKey: CryptoKey
  readonly #publicKey: string
  #generation = 0

  private constructor(gateway: Gateway, name: string, id: NodeId, pair: KeyPair, keys: RawNode['keys']) {
    this.#gateway = gateway
    this.name = name
    this.id = id
    this.#privateKey = pair.privateKey
    this.#publicKey = pair.publicKey
    this.keys = keys
  }

  static async make(gateway: Gateway, name: string): Promise<RawNode> {
    const { privateKey, publicKey } = await generateKeyPair('Ed25519')
    const { x } = await exportJWK(publicKey)
    const key = IdentityKey.parse(x)
    const keys = {
      wg: await x25519PublicKey(generateX25519()),
      seal: await x25519PublicKey(generateX25519()),
    }
    return new RawNode(gateway, name, await nodeIdOf(key), { privateKey, publicKey: key }, keys)
  }

  get generation(): number {
    return this.#generation
  }

  /** The JWS of an enrolment over these claims, whatever they are. */
  signEnrolment(claims: Json): Promise<string> {
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: this.#publicKey }
    return this.#sign({ alg: 'EdDSA', typ: ENROL_JWT_TYPE, jwk }, claims)
  }

  enrolmentClaims(token: string): { readonly [claim: string]: Json } {
    return {
      name: this.name,
      ...this.keys,
      agent: 'fuzz/1',
      token: sha256(token),
      aud: this.#gateway.connection.url.origin,
      ...minute(),
    }
  }

  async enrol(token: string): Promise<void> {
    const request = await this.signEnrolment(this.enrolmentClaims(token))
    const { status, body } = await this.#gateway.connection.request({
      method: 'POST',
      path: '/v1/enrol',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify({ request }),
    })
    if (status !== 200) throw new Error(`not enrolled: ${status} ${Buffer.from(body).toString()}`)
  }

  proofClaims(method: string, path: string, body: string): { readonly [claim: string]: Json } {
    return {
      iss: this.id,
      sub: this.id,
      aud: this.#gateway.connection.url.origin,
      ...minute(),
      jti: randomId(),
      htm: method,
      htu: path,
      bh: sha256(body),
    }
  }

  signProof(claims: Json): Promise<string> {
    return this.#sign({ alg: 'EdDSA', typ: PROOF_JWT_TYPE }, claims)
  }

  async authorization(method: string, path: string, body: string): Promise<string> {
    return `Claw ${await this.signProof(this.proofClaims(method, path, body))}`
  }

  /** A socket that is about to open, and the frame that would register it. */
  async dial(): Promise<{
    readonly socket: WebSocket
    readonly register: { readonly [field: string]: Json }
  }> {
    const claims = this.proofClaims('GET', SESSION_PATH, '')
    const authorization = `Claw ${await this.signProof(claims)}`
    const { connection, spki } = this.#gateway
    const header = { alg: 'EdDSA', typ: CHANNEL_JWT_TYPE }
    const channel = await this.#sign(header, { jti: claims['jti'] ?? '', spki })
    this.#generation++
    return {
      socket: connection.webSocket(SESSION_PATH, { authorization }),
      register: {
        type: 'register',
        protocol: PROTOCOL_VERSION,
        agent: 'fuzz/1',
        mesh: true,
        generation: this.#generation,
        channel,
      },
    }
  }

  #sign(header: { readonly alg: string; readonly [field: string]: unknown }, payload: Json): Promise<string> {
    const bytes = new TextEncoder().encode(JSON.stringify(payload))
    return new CompactSign(bytes).setProtectedHeader(header).sign(this.#privateKey)
  }
}

interface KeyPair {
  readonly privateKey: CryptoKey
  readonly publicKey: string
}

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('base64url')

function minute(): { readonly iat: number; readonly exp: number } {
  const iat = Math.floor(Date.now() / 1000)
  return { iat, exp: iat + 60 }
}
