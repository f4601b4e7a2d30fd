/** ML-KEM-768 (FIPS 203) as Node has it: keys and ciphertexts in base64url, raw as the standard writes them. */
import {
  createPublicKey,
  decapsulate as decapsulateWith,
  encapsulate as encapsulateFor,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'

/** SubjectPublicKeyInfo of an ML-KEM-768 key (RFC 9935) up to the key itself: Node reads and writes no raw form yet. */
const SPKI_HEADER = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex')

export interface KemKeyPair {
  readonly encapsulationKey: string
  /** In the library's memory only: it has no other form, and is gone with this object. */
  readonly decapsulationKey: KeyObject
}

export function generateKem(): KemKeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ml-kem-768')
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  return {
    encapsulationKey: spki.subarray(SPKI_HEADER.length).toString('base64url'),
    decapsulationKey: privateKey,
  }
}

/** Undefined if it is no key: its coefficients are checked (FIPS 203, section 7.2). */
export function encapsulate(
  encapsulationKey: string,
): { readonly ciphertext: string; readonly shared: Uint8Array } | undefined {
  try {
    const spki = Buffer.concat([SPKI_HEADER, Buffer.from(encapsulationKey, 'base64url')])
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    const { sharedKey, ciphertext } = encapsulateFor(key)
    return { ciphertext: ciphertext.toString('base64url'), shared: sharedKey }
  } catch {
    return undefined
  }
}

/** Another's ciphertext gives a secret that nobody has (implicit rejection); one of another length none at all. */
export function decapsulate({ decapsulationKey }: KemKeyPair, ciphertext: string): Uint8Array | undefined {
  try {
    return decapsulateWith(decapsulationKey, Buffer.from(ciphertext, 'base64url'))
  } catch {
    return undefined
  }
}
