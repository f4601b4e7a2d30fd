/**
 * What a node saw of the TLS connection under its session, signed by its identity key and sent in `register`. A gateway that knows its own
 * certificate finds out in this way that somebody with another, however valid, sits in between. Cloudflare does not tell a Worker its edge
 * certificate, nor export keying material from TLS (RFC 9266), so there this statement is not checked.
 */
import * as z from 'zod'

export const CHANNEL_JWT_TYPE = 'claw-channel+jwt'

export const ChannelClaims = z.object({
  /** `jti` of the upgrade's proof: the statement is about this session and no other. */
  jti: z.string().regex(/^[A-Za-z0-9_-]{22}$/),
  /** SHA-256 over the SubjectPublicKeyInfo of the server's certificate, base64url. */
  spki: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
})
export type ChannelClaims = z.infer<typeof ChannelClaims>
