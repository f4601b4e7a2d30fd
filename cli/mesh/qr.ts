/** A QR code of text, for a terminal. */
import { encode } from 'uqr'
import { EXIT, UserError } from '../../host/user-error.ts'

/** Modules of white around it, which readers need to find it (ISO/IEC 18004). */
const BORDER = 4
/** Of a code of version 25 with the least error correction: beyond it neither terminal nor camera has the pixels. */
const MAX_BYTES = 1273

/** Two rows of modules a line; light modules are drawn, because a terminal is dark. */
export function qrCode(text: string): string {
  const bytes = Buffer.byteLength(text)
  if (bytes > MAX_BYTES)
    throw new UserError({
      code: 'E_QR_TOO_LARGE',
      message: `${bytes} bytes are too many for a QR code that can be read from a terminal (${MAX_BYTES})`,
      fix: 'name fewer nodes with --via, or write the configuration to a file with --file',
      exitCode: EXIT.usage,
    })
  const { data, size } = encode(text, { ecc: 'L', boostEcc: false, border: BORDER })
  const lines: string[] = []
  for (let y = 0; y < size; y += 2) {
    let line = ''
    for (let x = 0; x < size; x++)
      line += HALVES[Number(!data[y]?.[x]) * 2 + Number(!data[y + 1]?.[x] && y + 1 < size)]
    lines.push(line)
  }
  return `${lines.join('\n')}\n`
}

/** By whether the upper and the lower half are light. */
const HALVES = [' ', '▄', '▀', '█']
