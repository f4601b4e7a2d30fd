/**
 * Files that are overwritten before they are removed: who still has one open finds zeros, or nothing, and so does whoever reads the disk. No
 * more than that can be done from here: a disk that writes elsewhere each time, a snapshot, a backup keep what they have.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readdirSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { MAX_SECRET_BYTES } from '../protocol/limits.ts'

/** Others may be at it in the same moment. A link is removed, not followed. */
export function wipeDirectory(path: string): void {
  try {
    if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) wipeFile(join(path, name))
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
  rmSync(path, { recursive: true, force: true })
}

/** Likewise; a directory stays. */
export function removeWiped(path: string): void {
  wipeFile(path)
  rmSync(path, { force: true })
}

function wipeFile(path: string): void {
  const { O_WRONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  let file: number
  try {
    if (!lstatSync(path).isFile()) return
    file = openSync(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  try {
    // What is larger is no secret of ours, and may say that it is larger than any memory.
    writeSync(file, new Uint8Array(Math.min(fstatSync(file).size, MAX_SECRET_BYTES)), 0)
    // Before it is cut short: else the zeros need never reach the disk.
    fsyncSync(file)
    ftruncateSync(file)
  } finally {
    closeSync(file)
  }
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined
