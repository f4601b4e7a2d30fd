/** CRC-32 as in IEEE 802.3, zlib and PNG: tells a mistyped token from one that nobody has issued. It protects from nobody. */

/** The polynomial 0x04c11db7, bits reversed. */
const POLYNOMIAL = 0xedb88320

export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0)
  }
  return (crc ^ 0xffffffff) >>> 0
}
