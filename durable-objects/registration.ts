/** What a `register` frame must hold before a session begins, beside its form. */
import { compactVerify, decodeProtectedHeader } from 'jose'
import { fromUtf8 } from '../crypto/bytes.ts'
import { CHANNEL_JWT_TYPE, ChannelClaims } from '../protocol/channel.ts'
import type { RegisterFrame } from '../protocol/frames.ts'
import { SIGNATURE_ALGORITHM } from '../protocol/proof.ts'

/**
 * Whether the node saw our certificate, as far as we know it ourselves. An interceptor can relay every byte, but not change what the node
 * has signed about the certificate it was shown.
 */
export async function sawOurCertificate(
  frame: RegisterFrame,
  key: CryptoKey,
  proof: string,
  ours: ReadonlySet<string>,
): Promise<boolean> {
  if (ours.size === 0) return true
  try {
    if (decodeProtectedHeader(frame.channel).typ !== CHANNEL_JWT_TYPE) return false
    const { payload } = await compactVerify(frame.channel, key, { algorithms: [SIGNATURE_ALGORITHM] })
    const claims = ChannelClaims.safeParse(JSON.parse(fromUtf8(payload)))
    return claims.success && claims.data.jti === proof && ours.has(claims.data.spki)
  } catch {
    return false
  }
}
