/**
 * The proof a node sends with each request and session upgrade: a JWT signed by its identity key, for one method, path and body
 * (after RFC 9449, DPoP). It travels as `Authorization: Claw <jwt>`, never in a URL, because URLs are logged.
 */
import * as z from 'zod'
import { NodeId } from './ids.ts'

export const PROOF_SCHEME = 'Claw'
/** On each answer to a request with a proof: the gateway's signature over proof, status and body (crypto/gateway-proof.ts). */
export const ANSWER_SIGNATURE_HEADER = 'claw-signature'
export const PROOF_JWT_TYPE = 'claw-proof+jwt'
/** The only algorithm there is; a token that names another is malformed, whatever its signature (RFC 8725, section 3.1). */
export const SIGNATURE_ALGORITHM = 'EdDSA'

/** Beside the registered claims `aud` (gateway origin), `iat`, `exp`. `iss` and `sub` are both the node. */
export const ProofClaims = z.object({
  iss: NodeId,
  sub: NodeId,
  aud: z.string().max(512),
  iat: z.int(),
  exp: z.int(),
  /** 16 random bytes, base64url: used once. */
  jti: z.string().regex(/^[A-Za-z0-9_-]{22}$/),
  /** HTTP method. */
  htm: z.string().max(16),
  /** Path with query, as sent. */
  htu: z.string().max(2048),
  /** SHA-256 of the body, base64url; of the empty string where there is none. */
  bh: z.string().length(43),
})
export type ProofClaims = z.infer<typeof ProofClaims>
