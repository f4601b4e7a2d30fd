/**
 * Verifies the proof of a node's request (protocol/proof.ts), cheapest check first; the signature before anything that depends on the
 * claims being true, the replay check last, so that a refused proof takes no room in the cache.
 */
import { base64url } from 'jose'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { NodeId } from '../protocol/ids.ts'
import { parseJson } from '../protocol/json.ts'
import { PROOF_CLOCK_TOLERANCE_MS, PROOF_LIFETIME_MS } from '../protocol/limits.ts'
import { PROOF_JWT_TYPE, PROOF_SCHEME, ProofClaims, SIGNATURE_ALGORITHM } from '../protocol/proof.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { toBase64Url, utf8 } from './bytes.ts'

/** As every agent of ours sends it: it need not be read each time. */
const USUAL_HEADER = toBase64Url(utf8(JSON.stringify({ alg: SIGNATURE_ALGORITHM, typ: PROOF_JWT_TYPE })))

const SIGNATURE_BYTES = 64

/** What a proof says, before anybody has looked at its signature. */
export interface UnverifiedProof {
  readonly claims: ProofClaims
  /** The bytes that are signed, and the signature in base64url. */
  readonly signed: Uint8Array
  readonly signature: string
}

/** The request that a proof must have been made for. */
export interface ProvenRequest {
  readonly method: string
  readonly path: string
  readonly bodyHash: string
}

/** What tells one proof from every other, for as long as it could pass. */
export interface ProofId {
  readonly jti: string
  /** When the proof is refused for its age, in Unix ms. */
  readonly goneAt: number
}

/** The JWT in an Authorization header, if that is of our scheme. */
export function proofOf(authorization: string | null | undefined): string | undefined {
  const [scheme, jwt, ...rest] = (authorization ?? '').split(' ')
  return scheme === PROOF_SCHEME && rest.length === 0 ? jwt : undefined
}

/** Who the proof says it is from, unverified: enough to find the object that can verify it. */
export function claimedNode(jwt: string): Result<NodeId, Refusal> {
  const proof = readProof(jwt)
  return proof.ok ? ok(proof.value.claims.sub) : proof
}

export function readProof(jwt: string): Result<UnverifiedProof, Refusal> {
  const [header = '', payload = '', signature = '', ...rest] = jwt.split('.')
  try {
    const claims = rest.length === 0 && isProofHeader(header) ? readClaims(payload) : undefined
    if (claims !== undefined) return ok({ claims, signed: utf8(`${header}.${payload}`), signature })
  } catch {
    // Not a JWT at all: the same answer.
  }
  return err(refusal('E_PROOF_MALFORMED'))
}

export async function verifyProof(
  proof: UnverifiedProof,
  key: CryptoKey,
  request: ProvenRequest,
  origins: ReadonlySet<string>,
  now: number,
): Promise<Result<ProofClaims, Refusal>> {
  if (!(await isSigned(proof, key))) return err(refusal('E_PROOF_SIGNATURE'))
  const { claims } = proof
  if (!origins.has(claims.aud)) return err(refusal('E_PROOF_AUDIENCE'))
  if (claims.htm !== request.method || claims.htu !== request.path || claims.bh !== request.bodyHash) {
    return err(refusal('E_PROOF_BINDING'))
  }
  return isTimely(claims, now) ? ok(claims) : err(refusal('E_PROOF_EXPIRED'))
}

/** Whether this key signed it, whatever it says. */
export async function isSigned({ signed, signature }: UnverifiedProof, key: CryptoKey): Promise<boolean> {
  const bytes = decodeSignature(signature)
  return bytes !== undefined && crypto.subtle.verify('Ed25519', key, bytes, new Uint8Array(signed))
}

function decodeSignature(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const bytes = new Uint8Array(base64url.decode(text))
    return bytes.length === SIGNATURE_BYTES ? bytes : undefined
  } catch {
    return undefined
  }
}

/** When the proof is refused for its age, in Unix ms: until then its id must be remembered. */
export const goneAt = (claims: ProofClaims): number => claims.exp * 1000 + PROOF_CLOCK_TOLERANCE_MS

/** Whether something signed at `iat` (Unix seconds) is as young as a proof must be. */
export const isRecent = (iat: number, now: number): boolean =>
  isTimely({ iat, exp: iat + PROOF_LIFETIME_MS / 1000 }, now)

export function isTimely({ iat, exp }: Pick<ProofClaims, 'iat' | 'exp'>, now: number): boolean {
  const issued = iat * 1000
  const expires = exp * 1000
  return (
    expires - issued <= PROOF_LIFETIME_MS &&
    expires > issued &&
    now >= issued - PROOF_CLOCK_TOLERANCE_MS &&
    now < expires + PROOF_CLOCK_TOLERANCE_MS
  )
}

function readClaims(part: string): ProofClaims | undefined {
  const claims = ProofClaims.safeParse(parseJson(base64url.decode(part)))
  return claims.success && claims.data.iss === claims.data.sub ? claims.data : undefined
}

/** `crit` names what must be understood, and nothing of that kind is (RFC 7515, section 4.1.11). */
function isProofHeader(part: string): boolean {
  if (part === USUAL_HEADER) return true
  const header = parseJson(base64url.decode(part))
  if (typeof header !== 'object' || header === null) return false
  const { alg, typ, crit } = header as Record<string, unknown>
  return alg === SIGNATURE_ALGORITHM && typ === PROOF_JWT_TYPE && crit === undefined
}
