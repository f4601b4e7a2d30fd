/** Finds and reads config.toml. It is not secret, but whoever can write it decides whom this node trusts. */
import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync, type Stats } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import type { ConfigProblems } from '../../host/config-problems.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { CONFIG_VARIABLE, DEFAULT_CONFIG_FILE } from './settings.ts'

const WORLD_WRITABLE = 0o002

export interface ConfigFile {
  readonly path: string
  readonly table: Readonly<Record<string, unknown>>
}

/** Undefined if there is none; a file that was named must be there. */
export function readConfigFile(
  flag: string | undefined,
  env: NodeJS.ProcessEnv,
  problems: ConfigProblems,
): ConfigFile | undefined {
  const [path, source] = locate(flag, env)
  if (path === undefined) return undefined
  const table = problems.attempt({ setting: 'config', source }, () => read(path))
  return table && { path, table }
}

function locate(
  flag: string | undefined,
  env: NodeJS.ProcessEnv,
): [path: string | undefined, source: string] {
  if (flag !== undefined) return [flag, '--config']
  const variable = env[CONFIG_VARIABLE]
  if (variable !== undefined) return [variable, CONFIG_VARIABLE]
  return [existsSync(DEFAULT_CONFIG_FILE) ? DEFAULT_CONFIG_FILE : undefined, DEFAULT_CONFIG_FILE]
}

function read(path: string): Readonly<Record<string, unknown>> {
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch {
    throw refused(path, 'it cannot be opened')
  }
  try {
    checkFile(path, fstatSync(file))
    return parse(readFileSync(file, 'utf8'))
  } catch (error) {
    // The parser's own words quote the file, which may be another one than was meant.
    if (error instanceof TomlError) throw refused(path, `line ${error.line} is not TOML`)
    throw error
  } finally {
    closeSync(file)
  }
}

function checkFile(path: string, status: Stats): void {
  if (!status.isFile()) throw refused(path, 'it is not a regular file')
  if ((status.mode & WORLD_WRITABLE) !== 0)
    throw refused(path, 'every user can write it', `chmod o-w ${path}`)
  const trusted = process.getuid === undefined || [0, process.getuid()].includes(status.uid)
  if (!trusted) throw refused(path, 'another user owns it', `chown root ${path}`)
}

const refused = (path: string, why: string, fix?: string): UserError =>
  new UserError({
    code: 'E_CONFIG_FILE',
    message: `${path} is not used`,
    why,
    fix,
    exitCode: EXIT.badConfig,
  })
