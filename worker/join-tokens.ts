/**
 * Join tokens: JWTs signed by the gateway, of which D1 keeps the hash, the limits and who used them. A token introduces a key once; from
 * then on the node signs for itself.
 */
import { decodeProtectedHeader, errors, jwtVerify, SignJWT } from 'jose'
import * as z from 'zod'
import { hashApiToken } from '../crypto/api-token.ts'
import { randomId } from '../crypto/bytes.ts'
import type { Config } from '../durable-objects/config.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import { JOIN_JWT_TYPE, type TokenItem } from '../protocol/http.ts'
import { type NodeId, Tags, TokenId } from '../protocol/ids.ts'
import { SIGNATURE_ALGORITHM } from '../protocol/proof.ts'
import { err, ok, type Result } from '../protocol/result.ts'

interface TokenRow {
  readonly id: TokenId
  readonly hash: string
  readonly tags: string
  readonly uses: number
  readonly used: number
  readonly created_at: number
  readonly expires_at: number
  readonly revoked_at: number | null
}

/** A token whose signature is ours; whether it may be used is the row's to say. */
export interface PresentedToken {
  readonly id: TokenId
  readonly hash: string
}

export interface NewToken {
  readonly id: TokenId
  readonly token: string
  readonly expiresAt: number
}

const JoinClaims = z.object({ jti: TokenId })

/** Makes a token; nothing is stored until {@link storeToken}, so that the audit entry can come between. */
export async function makeToken(
  config: Config,
  { ttlMs }: { readonly ttlMs: number },
  now: number,
): Promise<NewToken> {
  const id = TokenId.parse(randomId())
  const expiresAt = now + ttlMs
  const token = await new SignJWT({
    gk: config.signing.key,
    ...(config.ca !== undefined && { ca: config.ca }),
  })
    .setProtectedHeader({ alg: SIGNATURE_ALGORITHM, typ: JOIN_JWT_TYPE })
    .setJti(id)
    .setIssuedAt(Math.floor(now / 1000))
    .setExpirationTime(Math.ceil(expiresAt / 1000))
    .sign(config.signing.privateKey)
  return { id, token, expiresAt }
}

export async function storeToken(
  db: D1Database,
  token: NewToken,
  { tags, uses }: { readonly tags: Tags; readonly uses: number },
  now: number,
): Promise<void> {
  await db
    .prepare(
      'INSERT INTO join_tokens (id, hash, tags, uses, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
    )
    .bind(token.id, hashApiToken(token.token), JSON.stringify(tags), uses, now, token.expiresAt)
    .run()
}

export async function presentToken(config: Config, token: string): Promise<Result<PresentedToken, Refusal>> {
  const id = await verifySignature(config, token)
  return id.ok ? ok({ id: id.value, hash: hashApiToken(token) }) : id
}

/**
 * Takes one use for this node, or none if the node had one already: a retry after a lost answer costs nothing. One round trip, because
 * enrolling a thousand machines waits for it a thousand times.
 *
 * @returns the tags that the token gives.
 */
export async function redeemToken(
  db: D1Database,
  token: PresentedToken,
  node: NodeId,
  now: number,
): Promise<Result<Tags, Refusal>> {
  const [, mine, rows] = await db.batch<TokenRow>([
    db
      .prepare(
        `INSERT INTO join_redemptions (token_id, node_id, at)
         SELECT ?1, ?2, ?3 FROM join_tokens
         WHERE id = ?1 AND hash = ?4 AND used < uses AND expires_at > ?3 AND revoked_at IS NULL
         ON CONFLICT DO NOTHING`,
      )
      .bind(token.id, node, now, token.hash),
    db
      .prepare('SELECT 1 AS one FROM join_redemptions WHERE token_id = ? AND node_id = ?')
      .bind(token.id, node),
    db.prepare('SELECT * FROM join_tokens WHERE id = ?').bind(token.id),
  ])
  const issued = checkIssued(rows?.results[0], token)
  if (!issued.ok) return issued
  if (mine?.results.length === 1) return ok(tagsOf(issued.value))
  return err(refusal(issued.value.expires_at <= now ? 'E_TOKEN_EXPIRED' : 'E_TOKEN_USED_UP'))
}

/** For a node that is enrolled already: any token of ours that was not revoked will do, and loses no use. */
export async function acceptToken(db: D1Database, token: PresentedToken): Promise<Result<Tags, Refusal>> {
  const row = await db.prepare('SELECT * FROM join_tokens WHERE id = ?').bind(token.id).first<TokenRow>()
  const issued = checkIssued(row ?? undefined, token)
  return issued.ok ? ok(tagsOf(issued.value)) : issued
}

export async function listTokens(db: D1Database, now: number): Promise<TokenItem[]> {
  const { results } = await db
    .prepare('SELECT * FROM join_tokens ORDER BY created_at DESC LIMIT 1000')
    .all<TokenRow>()
  return results.map((row) => ({
    id: row.id,
    status: statusOf(row, now),
    tags: Tags.parse(JSON.parse(row.tags)),
    uses: row.uses,
    used: row.used,
    createdAt: new Date(row.created_at).toISOString(),
    expiresAt: new Date(row.expires_at).toISOString(),
  }))
}

/** False if there is no such token; revoking twice is fine. */
export async function revokeToken(db: D1Database, id: TokenId, now: number): Promise<boolean> {
  const { meta } = await db
    .prepare('UPDATE join_tokens SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?')
    .bind(now, id)
    .run()
  return meta.changes > 0
}

async function verifySignature(config: Config, token: string): Promise<Result<TokenId, Refusal>> {
  try {
    if (decodeProtectedHeader(token).typ !== JOIN_JWT_TYPE) return err(refusal('E_TOKEN_MALFORMED'))
    // Expiry is the row's to say, so that an expired token of ours is not mistaken for a stranger's.
    const { payload } = await jwtVerify(token, config.signing.publicKey, {
      algorithms: [SIGNATURE_ALGORITHM],
      currentDate: new Date(0),
    })
    const claims = JoinClaims.safeParse(payload)
    return claims.success ? ok(claims.data.jti) : err(refusal('E_TOKEN_MALFORMED'))
  } catch (error) {
    const forged =
      error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JOSEAlgNotAllowed
    return err(refusal(forged ? 'E_TOKEN_UNKNOWN' : 'E_TOKEN_MALFORMED'))
  }
}

function checkIssued(row: TokenRow | undefined, { hash }: PresentedToken): Result<TokenRow, Refusal> {
  if (row === undefined || row.hash !== hash) return err(refusal('E_TOKEN_UNKNOWN'))
  return row.revoked_at === null ? ok(row) : err(refusal('E_TOKEN_REVOKED'))
}

const tagsOf = (row: TokenRow): Tags => Tags.parse(JSON.parse(row.tags))

function statusOf(row: TokenRow, now: number): TokenItem['status'] {
  if (row.revoked_at !== null) return 'revoked'
  if (row.expires_at <= now) return 'expired'
  return row.used >= row.uses ? 'used_up' : 'valid'
}
