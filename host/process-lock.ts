/**
 * A lock that one process holds until it lets go or dies. Node has no file locks but SQLite's: a transaction that is never ended holds
 * one, and the system ends it with the process, however that dies. Nothing is ever written to the file.
 */
import { DatabaseSync } from 'node:sqlite'
import { createPrivateFile } from './private-file.ts'

/** Two may begin at once, and one that moves away; each waits a little before it believes in another. */
const LOCK_TIMEOUT_MS = 250
const SQLITE_BUSY = 5

export interface ProcessLock {
  readonly isOpen: boolean
  close(): void
}

/** @returns undefined if another process holds it. */
export function takeProcessLock(path: string): ProcessLock | undefined {
  createPrivateFile(path, '')
  const lock = new DatabaseSync(path, { timeout: LOCK_TIMEOUT_MS })
  try {
    // Without this there would be a journal beside it.
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    return lock
  } catch (error) {
    lock.close()
    if (isBusy(error)) return undefined
    throw error
  }
}

const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY
