/** Ed25519 identity keys (RFC 8032) and the JWTs they sign. */
import { type CryptoKey, importJWK, type JWK, SignJWT } from 'jose'
import { CHANNEL_JWT_TYPE, type ChannelClaims } from '../protocol/channel.ts'
import { ENROL_JWT_TYPE, type EnrolClaims, ROTATION_JWT_TYPE } from '../protocol/http.ts'
import type { NodeId } from '../protocol/ids.ts'
import { IdentityKey } from '../protocol/ids.ts'
import { PROOF_LIFETIME_MS } from '../protocol/limits.ts'
import { PROOF_JWT_TYPE, SIGNATURE_ALGORITHM } from '../protocol/proof.ts'
import { concat, randomId, sha256, toBase64Url, utf8 } from './bytes.ts'
import { SecretBytes } from './secret-bytes.ts'

/** PKCS #8 header of an Ed25519 private key (RFC 8410, section 7). */
const PKCS8_HEADER = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20)
const SEED_BYTES = 32

export class Identity {
  readonly publicKey: IdentityKey
  readonly #key: CryptoKey

  private constructor(publicKey: IdentityKey, key: CryptoKey) {
    this.publicKey = publicKey
    this.#key = key
  }

  static generateSeed(): SecretBytes {
    return SecretBytes.random(SEED_BYTES)
  }

  static async fromSeed(seed: SecretBytes): Promise<Identity> {
    if (seed.length !== SEED_BYTES) throw new RangeError(`Ed25519 seed must be ${SEED_BYTES} bytes`)
    const pkcs8 = concat(PKCS8_HEADER, seed.expose())
    try {
      const bytes = new Uint8Array(pkcs8)
      const extractable = await crypto.subtle.importKey('pkcs8', bytes, { name: 'Ed25519' }, true, ['sign'])
      const { x } = (await crypto.subtle.exportKey('jwk', extractable)) as JWK
      const key = await crypto.subtle.importKey('pkcs8', bytes, { name: 'Ed25519' }, false, ['sign'])
      bytes.fill(0)
      return new Identity(IdentityKey.parse(x), key)
    } finally {
      pkcs8.fill(0)
    }
  }

  /** The proof for one request (protocol/proof.ts). `now` is the gateway's time in Unix ms, as well as the node knows it. */
  async signProof(
    request: ProofTarget,
    now: number,
  ): Promise<{ readonly jwt: string; readonly jti: string }> {
    const jti = randomId()
    const issuedAt = Math.floor(now / 1000)
    const jwt = await new SignJWT({
      htm: request.method,
      htu: request.path,
      bh: await bodyHash(request.body),
    })
      .setProtectedHeader({ alg: SIGNATURE_ALGORITHM, typ: PROOF_JWT_TYPE })
      .setIssuer(request.node)
      .setSubject(request.node)
      .setAudience(request.origin)
      .setJti(jti)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + PROOF_LIFETIME_MS / 1000)
      .sign(this.#key)
    return { jwt, jti }
  }

  async signEnrolment(claims: EnrolClaims, origin: string, now: number): Promise<string> {
    const issuedAt = Math.floor(now / 1000)
    return new SignJWT({ ...claims })
      .setProtectedHeader(this.#introduction(ENROL_JWT_TYPE))
      .setAudience(origin)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + PROOF_LIFETIME_MS / 1000)
      .sign(this.#key)
  }

  /** What this node saw of a session's TLS connection (protocol/channel.ts). */
  signChannel(claims: ChannelClaims): Promise<string> {
    return new SignJWT({ ...claims })
      .setProtectedHeader({ alg: SIGNATURE_ALGORITHM, typ: CHANNEL_JWT_TYPE })
      .sign(this.#key)
  }

  /** This key agrees to be the node's next one. `now` as for a proof. */
  signRotation(node: NodeId, origin: string, now: number): Promise<string> {
    return new SignJWT()
      .setProtectedHeader(this.#introduction(ROTATION_JWT_TYPE))
      .setSubject(node)
      .setAudience(origin)
      .setIssuedAt(Math.floor(now / 1000))
      .sign(this.#key)
  }

  /** Header of a JWS by a key that the gateway does not know yet. */
  #introduction(typ: string) {
    return { alg: SIGNATURE_ALGORITHM, typ, jwk: { kty: 'OKP', crv: 'Ed25519', x: this.publicKey } }
  }
}

export interface ProofTarget {
  readonly node: NodeId
  readonly origin: string
  readonly method: string
  /** Path with query. */
  readonly path: string
  readonly body: Uint8Array
}

export const importIdentityKey = async (key: IdentityKey): Promise<CryptoKey> => {
  const imported = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: key }, SIGNATURE_ALGORITHM)
  if (imported instanceof Uint8Array) throw new TypeError('not an identity key')
  return imported as CryptoKey
}

/** SHA-256 in base64url: the `bh` of a proof and the `token` of an enrolment. */
export const bodyHash = async (body: Uint8Array): Promise<string> => toBase64Url(await sha256(body))
export const tokenHash = (token: string): Promise<string> => bodyHash(utf8(token))
