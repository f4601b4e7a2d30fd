/** A key that introduces itself: a JWS whose header carries the key that signed it. The signature is the proof of possession. */
import { compactVerify, decodeProtectedHeader } from 'jose'
import { fromUtf8 } from '../crypto/bytes.ts'
import { importIdentityKey } from '../crypto/identity.ts'
import { IdentityKey } from '../protocol/ids.ts'
import { SIGNATURE_ALGORITHM } from '../protocol/proof.ts'

/** @returns undefined if the signature does not hold, or it is a JWS of another type. The payload is signed, but not yet parsed. */
export async function readIntroduction(
  jws: string,
  type: string,
): Promise<{ readonly key: IdentityKey; readonly payload: unknown } | undefined> {
  try {
    const { alg, typ, jwk } = decodeProtectedHeader(jws)
    if (alg !== SIGNATURE_ALGORITHM || typ !== type) return undefined
    const key = IdentityKey.parse(jwk?.kty === 'OKP' && jwk.crv === 'Ed25519' ? jwk.x : undefined)
    const { payload } = await compactVerify(jws, await importIdentityKey(key), {
      algorithms: [SIGNATURE_ALGORITHM],
    })
    return { key, payload: JSON.parse(fromUtf8(payload)) }
  } catch {
    return undefined
  }
}
