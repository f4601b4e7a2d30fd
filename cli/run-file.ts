/**
 * `run.json` of a running `claw up`: who it is, and where it serves, so that `claw` finds it. A lock beside it keeps a second one away, for
 * exactly as long as the first one lives.
 */
import { rmSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import * as z from 'zod'
import type { OptionSpec } from '../host/options.ts'
import { checkPrivateDirectory, readPrivateFile, writePrivateFile } from '../host/private-file.ts'
import { type ProcessLock, takeProcessLock } from '../host/process-lock.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { endProcess, identify, isAlive, ProcessIdentity } from './up/processes.ts'

export const DEFAULT_DIRECTORY = '.claw'
/** Of the commands that work on the directory of a `claw up`. */
export const directoryOption = {
  type: 'string',
  value: 'DIR',
  default: DEFAULT_DIRECTORY,
  help: 'where keys and databases are kept',
} as const satisfies OptionSpec

const RunFile = z.object({
  gateway: ProcessIdentity,
  /** Unknown while it starts. */
  workerd: ProcessIdentity.optional(),
  url: z.string().optional(),
  /** How often it was told to read its files again, and why it did not take them the last time. */
  reload: z.object({ count: z.int().positive(), refused: z.string().optional() }).optional(),
  ca: z.string(),
  adminTokenFile: z.string(),
})
export type RunFile = z.infer<typeof RunFile>

const pathIn = (directory: string): string => join(directory, 'run.json')

/** Undefined if no gateway was started there, or the file cannot be understood. */
export function readRunFile(directory: string): RunFile | undefined {
  const bytes = readPrivateFile(pathIn(directory))
  if (bytes === undefined) return undefined
  try {
    return RunFile.parse(JSON.parse(Buffer.from(bytes).toString('utf8')))
  } catch {
    return undefined
  }
}

/** The files of a gateway that its administrator needs. */
interface GatewayFiles {
  readonly ca: string
  readonly adminTokenFile: string
}

const gatewayFiles = (directory: string): GatewayFiles => ({
  ca: join(resolve(directory), 'ca.pem'),
  adminTokenFile: join(resolve(directory), 'admin.token'),
})

/**
 * The gateway that serves from this directory; undefined if none does.
 * @throws UserError if somebody else may have put the directory there, or the file names what is not in it: a directory that came with a
 * download must not choose where a token goes.
 */
export function findRunningGateway(directory: string): (GatewayFiles & { readonly url: string }) | undefined {
  checkPrivateDirectory(directory)
  const run = readRunFile(directory)
  if (run === undefined) return undefined
  const files = gatewayFiles(directory)
  if (!isSameFile(run.ca, files.ca) || !isSameFile(run.adminTokenFile, files.adminTokenFile))
    throw untrusted(directory)
  if (run.url === undefined || !mayBeAlive(run.gateway)) return undefined
  return { url: run.url, ...files }
}

/** By another way to the same directory, but under the same name. */
function isSameFile(recorded: string, expected: string): boolean {
  if (!isAbsolute(recorded) || basename(recorded) !== basename(expected)) return false
  const recordedIn = statSync(dirname(recorded), { throwIfNoEntry: false })
  const expectedIn = statSync(dirname(expected), { throwIfNoEntry: false })
  return recordedIn?.ino === expectedIn?.ino && recordedIn?.dev === expectedIn?.dev
}

/** Where the platform does not tell, the directory has to do. */
const mayBeAlive = (gateway: ProcessIdentity): boolean =>
  isAlive(gateway) || identify(process.pid) === undefined

/** A directory that is this process's until it is released, or the process dies. */
export class DirectoryClaim {
  readonly #directory: string
  readonly #lock: ProcessLock
  #content: RunFile

  private constructor(directory: string, lock: ProcessLock) {
    this.#directory = directory
    this.#lock = lock
    this.#content = { gateway: identify(process.pid) ?? unidentified(), ...gatewayFiles(directory) }
    this.note({})
  }

  /**
   * `kill -9` of an earlier run leaves its workerd behind, which holds port and databases: that one is ended, recognised by pid, start time
   * and executable, and nothing else ever is.
   * @throws UserError if another process has the directory.
   */
  static async take(directory: string): Promise<DirectoryClaim> {
    const lock = takeProcessLock(join(directory, 'lock.db'))
    if (lock === undefined) throw alreadyRunning(directory)
    try {
      const earlier = readRunFile(directory)
      // Possible only if somebody deleted the lock under it.
      if (earlier !== undefined && isAlive(earlier.gateway)) throw alreadyRunning(directory)
      if (earlier?.workerd !== undefined) await endProcess(earlier.workerd)
      return new DirectoryClaim(directory, lock)
    } catch (error) {
      lock.close()
      throw error
    }
  }

  /** Writes down what is known by now. */
  note(change: Pick<RunFile, 'workerd' | 'url' | 'reload'>): void {
    if (!this.#lock.isOpen) return
    this.#content = { ...this.#content, ...change }
    writeRunFile(this.#directory, this.#content)
  }

  /** Once: what is there afterwards may be another's. */
  release(): void {
    if (!this.#lock.isOpen) return
    rmSync(pathIn(this.#directory), { force: true })
    this.#lock.close()
  }
}

export const writeRunFile = (directory: string, content: RunFile): void =>
  writePrivateFile(pathIn(directory), `${JSON.stringify(content, null, 2)}\n`)

const unidentified = (): ProcessIdentity => ({
  pid: process.pid,
  startTime: '',
  executable: process.execPath,
})

function alreadyRunning(directory: string): UserError {
  const other = readRunFile(directory)
  // One that has only just begun has not written its own yet.
  const known = other !== undefined && isAlive(other.gateway)
  return new UserError({
    code: 'E_ALREADY_RUNNING',
    message: `a gateway is already running on ${directory}`,
    why: known
      ? `process ${other.gateway.pid}${other.url === undefined ? '' : ` serves ${other.url}`}`
      : undefined,
    fix: 'stop that one first, or use another --dir',
    exitCode: EXIT.conflict,
  })
}

const untrusted = (directory: string): UserError =>
  new UserError({
    code: 'E_RUN_FILE',
    message: `${pathIn(directory)} is not what \`claw up\` writes there`,
    why: 'it names a CA or an admin token outside its own directory',
    fix: 'delete it, and start the gateway anew; or name a gateway with --gateway URL',
    exitCode: EXIT.badConfig,
  })
