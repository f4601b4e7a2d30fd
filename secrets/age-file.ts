/** Whether bytes are an age file (age-encryption.org/v1), as far as one can tell who cannot open it. */
import { utf8 } from '../crypto/bytes.ts'

const FIRST_LINE = utf8('age-encryption.org/v1\n')
/** First line, one recipient, the header's MAC, and the payload's nonce and tag: nothing real is shorter. */
const LEAST_BYTES = 150

export const isAgeFile = (bytes: Uint8Array): boolean =>
  bytes.length >= LEAST_BYTES && FIRST_LINE.every((byte, index) => bytes[index] === byte)
