/**
 * Files that only their owner may read (M-2). A file is never visible with wider bits, half written, or through a symlink, and one that
 * others could have read is refused rather than mended in silence: what they saw cannot be taken back.
 */
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { EXIT, UserError } from './user-error.ts'

const PRIVATE = 0o600
const OTHERS = 0o077

/** Makes the directory 0700, or checks that an existing one is ours alone. */
export function ensurePrivateDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  checkPrivateDirectory(path)
}

/** @throws UserError if there is a directory that is not ours alone. */
export function checkPrivateDirectory(path: string): void {
  const status = lstatSync(path, { throwIfNoEntry: false })
  if (status === undefined) return
  if (!status.isDirectory()) throw unsafe(path, 'it is not a directory', `use another directory than ${path}`)
  if (!isOurs(status)) throw unsafe(path, 'another user owns it', `use a directory of your own`)
  if ((status.mode & OTHERS) !== 0) throw unsafe(path, 'others can open it', `chmod 700 ${path}`)
}

/**
 * Replaces the file at once and durably; a crash leaves the old content or the new. @param mode wider than private for a file that its owner
 * wants others to read.
 */
export function writePrivateFile(path: string, content: Uint8Array | string, mode = PRIVATE): void {
  withTemporary(path, content, mode, (temporary) => renameSync(temporary, path))
}

/** Like writePrivateFile, but never over an existing file: false if there is one. */
export function createPrivateFile(path: string, content: Uint8Array | string): boolean {
  return withTemporary(path, content, PRIVATE, (temporary) => {
    try {
      linkSync(temporary, path)
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false
      throw error
    } finally {
      rmSync(temporary)
    }
    return true
  })
}

/** The file takes the place of another, at once and durably. */
export function movePrivateFile(from: string, to: string): void {
  renameSync(from, to)
  syncDirectory(dirname(to))
}

/** @throws UserError if there is a file that is not private. */
export function checkPrivateFile(path: string): void {
  const file = openForReading(path)
  if (file === undefined) return
  try {
    checkOpened(path, file)
  } finally {
    closeSync(file)
  }
}

/** Undefined if there is no file. */
export function readPrivateFile(path: string): Uint8Array | undefined {
  const file = openForReading(path)
  if (file === undefined) return undefined
  try {
    checkOpened(path, file)
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

/** Of the file that is open, not of a name that may be another's by now. */
function checkOpened(path: string, file: number): void {
  const status = fstatSync(file)
  if (!status.isFile()) throw unsafe(path, 'it is not a regular file')
  if (!isOurs(status)) throw unsafe(path, 'another user owns it')
  if ((status.mode & OTHERS) !== 0) throw unsafe(path, 'others can read it', `chmod 600 ${path}`)
}

function openForReading(path: string): number | undefined {
  try {
    // O_NONBLOCK, because opening a pipe that somebody put there would wait for ever.
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    if (codeOf(error) === 'ELOOP') throw unsafe(path, 'it is a symbolic link')
    throw unreadable(path, error)
  }
}

function withTemporary<T>(
  path: string,
  content: Uint8Array | string,
  mode: number,
  place: (temporary: string) => T,
): T {
  const directory = dirname(path)
  const temporary = join(directory, `.${basename(path)}.${randomBytes(8).toString('hex')}`)
  try {
    writeExclusively(temporary, content, mode)
    const placed = place(temporary)
    syncDirectory(directory)
    return placed
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

function writeExclusively(path: string, content: Uint8Array | string, mode: number): void {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
  const file = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, PRIVATE)
  try {
    // A umask can only take bits away; without this an odd one would leave a file its owner cannot read.
    fchmodSync(file, mode)
    writeFileSync(file, content)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** The name is in the directory, which has to reach the disk too. */
function syncDirectory(path: string): void {
  const directory = openSync(path, constants.O_RDONLY)
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

/** Platforms without user ids have no owner to compare. */
const isOurs = (status: Stats): boolean => process.getuid === undefined || status.uid === process.getuid()

function unsafe(path: string, why: string, fix?: string): UserError {
  const message = `${path} is not private`
  return new UserError({ code: 'E_FILE_PERMISSIONS', message, why, fix, exitCode: EXIT.badConfig })
}

function unreadable(path: string, error: unknown): UserError {
  const message = `${path} cannot be read`
  return new UserError({ code: 'E_FILE_UNREADABLE', message, why: codeOf(error), exitCode: EXIT.badConfig })
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error ? String(error.code) : undefined
