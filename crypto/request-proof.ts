/**
 * Verifies the proof of a node's request (protocol/proof.ts), cheapest check first; the signature before anything that depends on the
 * claims being true, the replay check last, so that a refused proof takes no room in the cache.
 */
import { compactVerify, decodeJwt, decodeProtectedHeader, errors } from 'jose'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { NodeId } from '../protocol/ids.ts'
import { PROOF_CLOCK_TOLERANCE_MS, PROOF_LIFETIME_MS } from '../protocol/limits.ts'
import { PROOF_JWT_TYPE, PROOF_SCHEME, ProofClaims, SIGNATURE_ALGORITHM } from '../protocol/proof.ts'
import { err, ok, type Result } from '../protocol/result.ts'

/** The request that a proof must have been made for. */
export interface ProvenRequest {
  readonly method: string
  readonly path: string
  readonly bodyHash: string
}

/** The JWT in an Authorization header, if that is of our scheme. */
export function proofOf(authorization: string | null | undefined): string | undefined {
  const [scheme, jwt, ...rest] = (authorization ?? '').split(' ')
  return scheme === PROOF_SCHEME && rest.length === 0 ? jwt : undefined
}

/** Who the proof says it is from, unverified: enough to find the object that can verify it. */
export function claimedNode(jwt: string): Result<NodeId, Refusal> {
  const claims = unverifiedClaims(jwt)
  return claims.ok ? ok(claims.value.sub) : claims
}

export async function verifyProof(
  jwt: string,
  key: CryptoKey,
  request: ProvenRequest,
  origins: ReadonlySet<string>,
  now: number,
): Promise<Result<ProofClaims, Refusal>> {
  const signed = await verifySignature(jwt, key)
  if (!signed.ok) return signed
  const claims = signed.value
  if (!origins.has(claims.aud)) return err(refusal('E_PROOF_AUDIENCE'))
  if (claims.htm !== request.method || claims.htu !== request.path || claims.bh !== request.bodyHash) {
    return err(refusal('E_PROOF_BINDING'))
  }
  return isTimely(claims, now) ? ok(claims) : err(refusal('E_PROOF_EXPIRED'))
}

/** The claims of a proof that this key signed, whatever they say. */
export async function verifySignature(jwt: string, key: CryptoKey): Promise<Result<ProofClaims, Refusal>> {
  const claims = unverifiedClaims(jwt)
  if (!claims.ok) return claims
  try {
    await compactVerify(jwt, key, { algorithms: [SIGNATURE_ALGORITHM] })
    return claims
  } catch (error) {
    if (error instanceof errors.JOSEError) return err(refusal('E_PROOF_SIGNATURE'))
    throw error
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

function unverifiedClaims(jwt: string): Result<ProofClaims, Refusal> {
  try {
    const { alg, typ } = decodeProtectedHeader(jwt)
    const claims = ProofClaims.safeParse(decodeJwt(jwt))
    if (
      alg === SIGNATURE_ALGORITHM &&
      typ === PROOF_JWT_TYPE &&
      claims.success &&
      claims.data.iss === claims.data.sub
    ) {
      return ok(claims.data)
    }
  } catch {
    // Not a JWT at all: the same answer.
  }
  return err(refusal('E_PROOF_MALFORMED'))
}
