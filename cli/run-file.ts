/** `run.json` of a running `claw up`: who it is, so that a second one keeps away, and where it serves, so that `claw` finds it. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import type { OptionSpec } from '../host/options.ts'
import { createPrivateFile, readPrivateFile, writePrivateFile } from '../host/private-file.ts'
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

/**
 * Takes the directory for this process. `kill -9` of an earlier run leaves its workerd behind, which holds port and databases: that one
 * is ended, recognised by pid, start time and executable, and nothing else ever is.
 */
export async function claimDirectory(
  directory: string,
  files: Pick<RunFile, 'ca' | 'adminTokenFile'>,
): Promise<RunFile> {
  const earlier = readRunFile(directory)
  if (earlier !== undefined && isAlive(earlier.gateway)) throw alreadyRunning(directory, earlier)
  if (earlier?.workerd !== undefined) await endProcess(earlier.workerd)
  releaseDirectory(directory)

  const mine: RunFile = { gateway: identify(process.pid) ?? unidentified(), ...files }
  if (!createPrivateFile(pathIn(directory), JSON.stringify(mine)))
    throw alreadyRunning(directory, readRunFile(directory))
  return mine
}

export const writeRunFile = (directory: string, content: RunFile): void =>
  writePrivateFile(pathIn(directory), `${JSON.stringify(content, null, 2)}\n`)

export const releaseDirectory = (directory: string): void => rmSync(pathIn(directory), { force: true })

/** Where the platform does not tell, the port is what keeps a second gateway away. */
const unidentified = (): ProcessIdentity => ({
  pid: process.pid,
  startTime: '',
  executable: process.execPath,
})

const alreadyRunning = (directory: string, other: RunFile | undefined): UserError =>
  new UserError({
    code: 'E_ALREADY_RUNNING',
    message: `a gateway is already running on ${directory}`,
    why: other && `process ${other.gateway.pid}${other.url === undefined ? '' : ` serves ${other.url}`}`,
    fix: 'stop that one first, or use another --dir',
    exitCode: EXIT.conflict,
  })
