/** Checkpoints (C2SP tlog-checkpoint): a log's size and root at one moment, as a note signed by the log. */
import { fromBase64, toBase64 } from './bytes.ts'
import { HASH_BYTES } from './merkle.ts'
import type { TreeHead } from './merkle-proof.ts'

export interface Checkpoint extends TreeHead {
  /** Which log this is. */
  readonly origin: string
}

export const formatCheckpoint = ({ origin, size, root }: Checkpoint): string =>
  `${origin}\n${size}\n${toBase64(root)}\n`

/** Of a note's text. Undefined unless it has three lines of the right form: what an extension line says, no proof covers. */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  const [origin = '', size = '', encoded = '', end, ...more] = text.split('\n')
  const root = fromBase64(encoded)
  if (end !== '' || more.length > 0 || origin === '' || root?.length !== HASH_BYTES) return undefined
  return /^(0|[1-9][0-9]{0,14})$/.test(size) ? { origin, size: Number(size), root } : undefined
}
