/**
 * Changes /etc/hosts, on which the whole machine depends: at once and whole where that can be done, else in place, never more than is
 * needed, and not at all if it is anything but a regular file.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { takeProcessLock } from '../../host/process-lock.ts'
import { err, ok, type Result } from '../../protocol/result.ts'
import { type HostsLine, withBlock } from './hosts-block.ts'

/** Lists of names to be blocked are some megabytes; more than this nobody has looked up a name in. */
const MAX_FILE_BYTES = 16 * 1024 * 1024
/** Somebody else may write it at the same moment. */
const TRIES = 3
/** Why a file cannot be replaced that can still be written: it is mounted (as in a container), or its directory is not ours. */
const NOT_REPLACEABLE = ['EBUSY', 'EXDEV', 'EROFS', 'EACCES', 'EPERM']

export interface HostsPaths {
  readonly hosts: string
  /** Shared by all agents of the machine: of two that change the file at once, one's block would be lost. */
  readonly lock: string
}

export const SYSTEM_HOSTS: HostsPaths = { hosts: '/etc/hosts', lock: '/run/clawnode-hosts.lock' }

type Change = 'written' | 'unchanged'

export class HostsFile {
  readonly #paths: HostsPaths

  constructor(paths: HostsPaths) {
    this.#paths = paths
  }

  /** @param lines none to be without a block. @returns why it cannot be done, for people. */
  setBlock(iface: string, lines: readonly HostsLine[]): Result<Change, string> {
    const { hosts, lock } = this.#paths
    try {
      using held = new Lock(lock)
      if (!held.isOurs) return err(`${hosts} is being changed by another agent`)
      for (let tried = 0; tried < TRIES; tried++) {
        const change = editOnce(realpathSync(hosts), (text) => withBlock(text, iface, lines))
        if (change !== undefined) return ok(change)
      }
      return err(`${hosts} is being changed by another program`)
    } catch (error) {
      return err(`${hosts} cannot be changed: ${reasonOf(error)}`)
    }
  }
}

class Lock implements Disposable {
  readonly #lock: ReturnType<typeof takeProcessLock>

  constructor(path: string) {
    this.#lock = takeProcessLock(path)
  }

  get isOurs(): boolean {
    return this.#lock !== undefined
  }

  [Symbol.dispose](): void {
    this.#lock?.close()
  }
}

class NotSuitable extends Error {}

/** @returns undefined if the file was changed by another meanwhile. */
function editOnce(path: string, edit: (text: string) => string): Change | undefined {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  let status: Stats
  let before: string
  try {
    status = fstatSync(file)
    if (!status.isFile()) throw new NotSuitable('it is not a regular file')
    if (status.size > MAX_FILE_BYTES) throw new NotSuitable(`it has more than ${MAX_FILE_BYTES} bytes`)
    before = readFileSync(file, 'latin1')
  } finally {
    closeSync(file)
  }
  const after = edit(before)
  if (after === before) return 'unchanged'
  const content = Buffer.from(after, 'latin1')
  if (!isAsItWas(path, status)) return undefined
  // Another name of the same file would keep the old content.
  if (status.nlink > 1) return writeInPlace(path, content)
  try {
    return replace(path, status, content)
  } catch (error) {
    if (!NOT_REPLACEABLE.includes(codeOf(error) ?? '')) throw error
    return writeInPlace(path, content)
  }
}

/** A reader finds the old file or the new one, with the same owner and mode. */
function replace(path: string, { uid, gid, mode }: Stats, content: Uint8Array): Change {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
  const temporary = join(dirname(path), '.hosts.clawnode')
  // Of an agent that was killed: we hold the lock.
  rmSync(temporary, { force: true })
  try {
    const file = openSync(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    try {
      writeFileSync(file, content)
      fchownSync(file, uid, gid)
      fchmodSync(file, mode & 0o7777)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
    return 'written'
  } finally {
    rmSync(temporary, { force: true })
  }
}

/** The end is cut last: a reader in between finds every line of the new content. */
function writeInPlace(path: string, content: Uint8Array): Change {
  const file = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW)
  try {
    for (let at = 0; at < content.length; ) at += writeSync(file, content, at, content.length - at, at)
    ftruncateSync(file, content.length)
    fsyncSync(file)
    return 'written'
  } finally {
    closeSync(file)
  }
}

function isAsItWas(path: string, { ino, size, mtimeMs }: Stats): boolean {
  const now = lstatSync(path, { throwIfNoEntry: false })
  return now?.ino === ino && now.size === size && now.mtimeMs === mtimeMs
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error ? String(error.code) : undefined

const reasonOf = (error: unknown): string =>
  codeOf(error) ?? (error instanceof Error ? error.message : String(error))
