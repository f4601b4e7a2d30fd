/** Checks what a node signed, with jose alone: nothing of the agent's own signing code takes part. */
import { createHash } from 'node:crypto'
import { importJWK, jwtVerify } from 'jose'
import * as z from 'zod'
import { CHANNEL_JWT_TYPE, ChannelClaims } from '../../protocol/channel.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { ENROL_JWT_TYPE, EnrolClaims, ROTATION_JWT_TYPE } from '../../protocol/http.ts'
import { IdentityKey } from '../../protocol/ids.ts'
import { PROOF_CLOCK_TOLERANCE_MS } from '../../protocol/limits.ts'
import { PROOF_JWT_TYPE, PROOF_SCHEME, ProofClaims } from '../../protocol/proof.ts'
import { err, ok, type Result } from '../../protocol/result.ts'

export interface ProvenRequest {
  readonly authorization: string | undefined
  readonly method: string
  readonly path: string
  readonly body: Uint8Array
  readonly origins: readonly string[]
  /** Unix ms. */
  readonly now: number
}

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('base64url')

export class FakeProofs {
  readonly #used = new Set<string>()

  /** @param keys of the enrolled nodes, by id. */
  async verify(
    request: ProvenRequest,
    keys: ReadonlyMap<string, IdentityKey>,
  ): Promise<Result<ProofClaims, ErrorCode>> {
    const [scheme, jwt = ''] = (request.authorization ?? '').split(' ')
    if (scheme !== PROOF_SCHEME) return err('E_AUTH_REQUIRED')
    const claimed = ProofClaims.safeParse(payloadOf(jwt))
    if (!claimed.success) return err('E_PROOF_MALFORMED')
    const key = keys.get(claimed.data.sub)
    if (key === undefined) return err('E_NODE_UNKNOWN')
    const options = {
      audience: [...request.origins],
      issuer: claimed.data.sub,
      typ: PROOF_JWT_TYPE,
      ...at(request.now),
    }
    const failure = await check(jwt, key, options)
    if (failure !== undefined)
      return err(failure === 'ERR_JWT_EXPIRED' ? 'E_PROOF_EXPIRED' : 'E_PROOF_SIGNATURE')
    if (claimed.data.iat * 1000 > request.now + PROOF_CLOCK_TOLERANCE_MS) return err('E_PROOF_EXPIRED')
    const { htm, htu, bh, jti } = claimed.data
    if (htm !== request.method || htu !== request.path || bh !== sha256(request.body))
      return err('E_PROOF_BINDING')
    if (this.#used.has(jti)) return err('E_PROOF_REPLAYED')
    this.#used.add(jti)
    return ok(claimed.data)
  }
}

export interface VerifiedEnrolment extends z.infer<typeof EnrolClaims> {
  readonly identity: IdentityKey
}

export async function verifyEnrolment(
  jws: string,
  {
    token,
    origins,
    now,
  }: { readonly token: string; readonly origins: readonly string[]; readonly now: number },
): Promise<Result<VerifiedEnrolment, ErrorCode>> {
  const header = z.object({ jwk: z.object({ x: IdentityKey }) }).parse(JSON.parse(part(jws, 0)))
  const identity = header.jwk.x
  const failure = await check(jws, identity, { audience: [...origins], typ: ENROL_JWT_TYPE, ...at(now) })
  if (failure !== undefined) return err(failure === 'ERR_JWT_EXPIRED' ? 'E_PROOF_EXPIRED' : 'E_ENROL_INVALID')
  const payload = payloadOf(jws)
  const { iat } = z.object({ iat: z.int() }).parse(payload)
  if (iat * 1000 > now + PROOF_CLOCK_TOLERANCE_MS) return err('E_PROOF_EXPIRED')
  const claims = EnrolClaims.parse(payload)
  return claims.token === sha256(token) ? ok({ ...claims, identity }) : err('E_ENROL_INVALID')
}

/** The new key's own word that it is to be this node's. Undefined if it is not that. */
export async function verifyRotation(
  jws: string,
  { node, origins }: { readonly node: string; readonly origins: readonly string[] },
): Promise<IdentityKey | undefined> {
  const header = z.object({ jwk: z.object({ x: IdentityKey }) }).parse(JSON.parse(part(jws, 0)))
  const identity = header.jwk.x
  const options = { audience: [...origins], subject: node, typ: ROTATION_JWT_TYPE }
  return (await check(jws, identity, options)) === undefined ? identity : undefined
}

/** What a node has signed about the connection of its session. */
export async function verifyChannel(jws: string, key: IdentityKey): Promise<ChannelClaims | undefined> {
  const failure = await check(jws, key, { typ: CHANNEL_JWT_TYPE })
  return failure === undefined ? ChannelClaims.parse(payloadOf(jws)) : undefined
}

const at = (now: number) => ({ currentDate: new Date(now), clockTolerance: PROOF_CLOCK_TOLERANCE_MS / 1000 })

/** The code of jose's error, if it finds one. */
async function check(
  jwt: string,
  key: IdentityKey,
  options: NonNullable<Parameters<typeof jwtVerify>[2]>,
): Promise<string | undefined> {
  try {
    await jwtVerify(jwt, await importJWK({ kty: 'OKP', crv: 'Ed25519', x: key }, 'EdDSA'), {
      algorithms: ['EdDSA'],
      ...options,
    })
    return undefined
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
  }
}

const payloadOf = (jwt: string): unknown => {
  try {
    return JSON.parse(part(jwt, 1))
  } catch {
    return undefined
  }
}

const part = (jwt: string, index: number): string =>
  Buffer.from(jwt.split('.')[index] ?? '', 'base64url').toString()
