/** A secret's value as JSON holds it: as text if it is text, byte for byte, else in base64. */
import { fromUtf8 } from '../crypto/bytes.ts'

export function valueJson(bytes: Uint8Array): { value: string } | { valueBase64: string } {
  try {
    return { value: fromUtf8(bytes) }
  } catch {
    return { valueBase64: Buffer.from(bytes).toString('base64') }
  }
}
