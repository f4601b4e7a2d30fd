/** SHA-256 by Node's OpenSSL, for those who hash by the million. */
import { hash } from 'node:crypto'
import type { Sha256 } from '../crypto/merkle.ts'

/** By way of a string: a digest as a buffer costs twice the hashing itself, for memory of its own. */
export const nodeSha256: Sha256 = (bytes) => Buffer.from(hash('sha256', bytes, 'binary'), 'binary')
