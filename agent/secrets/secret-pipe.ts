/**
 * A named pipe from which a secret can be read a number of times, and then is gone. Each reader gets a pipe of its own: as soon as one has
 * opened it another takes its place under the name, so that no reader is given what was meant for the next.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, constants, fstatSync, openSync, renameSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { Clock, Timer } from '../clock.ts'

/** Nothing tells a writer that a reader waits; to open without waiting fails until one does. */
const LOOK_EVERY_MS = 20

export class SecretPipe {
  readonly #path: string
  readonly #clock: Clock
  readonly #value: SecretBytes
  #left: number
  #timer: Timer | undefined
  readonly #readers = new Set<Socket>()

  /** Takes ownership of the value. @throws UserError if there is no pipe to be made. */
  constructor(path: string, value: SecretBytes, maxReads: number, clock: Clock) {
    this.#path = path
    this.#value = value
    this.#left = maxReads
    this.#clock = clock
    this.#place()
    this.#wait()
  }

  /** Also cuts off who is reading. */
  close(): void {
    this.#timer?.cancel()
    this.#left = 0
    for (const reader of this.#readers) reader.destroy()
    rmSync(this.#path, { force: true })
    this.#value.wipe()
  }

  #place(): void {
    const fresh = `${this.#path}.next`
    rmSync(fresh, { force: true })
    makePipe(fresh)
    renameSync(fresh, this.#path)
  }

  #wait(): void {
    this.#timer = this.#clock.after(LOOK_EVERY_MS, () => this.#look())
  }

  #look(): void {
    const pipe = openForReader(this.#path)
    // The command may have taken the name away, or put something else there.
    if (pipe === 'gone') this.#left = 0
    else if (pipe !== 'nobody reads') this.#serve(pipe)
    if (this.#left > 0) this.#wait()
    else this.#value.wipe()
  }

  #serve(pipe: number): void {
    this.#left--
    if (this.#left > 0) this.#place()
    else rmSync(this.#path, { force: true })
    this.#send(pipe)
  }

  #send(pipe: number): void {
    const reader = new Socket({ fd: pipe, readable: false, writable: true })
    const copy = new Uint8Array(this.#value.expose())
    this.#readers.add(reader)
    // One that leaves early has had its read.
    reader.on('error', () => {})
    reader.once('close', () => {
      copy.fill(0)
      this.#readers.delete(reader)
    })
    reader.end(copy)
  }
}

function openForReader(path: string): number | 'nobody reads' | 'gone' {
  const { O_WRONLY, O_NONBLOCK, O_NOFOLLOW } = constants
  try {
    const pipe = openSync(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW)
    if (fstatSync(pipe).isFIFO()) return pipe
    closeSync(pipe)
    return 'gone'
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENXIO') return 'nobody reads'
    if (code === 'ENOENT' || code === 'ELOOP') return 'gone'
    throw error
  }
}

/** Node cannot make one itself. */
function makePipe(path: string): void {
  try {
    execFileSync('mkfifo', ['-m', '600', path], { stdio: 'ignore' })
  } catch (error) {
    throw new UserError({
      code: 'E_PIPE',
      message: 'a named pipe cannot be made',
      why: error instanceof Error && 'code' in error ? `mkfifo: ${String(error.code)}` : 'mkfifo failed',
      fix: 'install mkfifo (coreutils), or use --file',
      exitCode: EXIT.badConfig,
    })
  }
}
