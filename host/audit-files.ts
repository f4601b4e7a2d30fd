/** A log as files (C2SP tlog-tiles): where tiles and bundles are read from, whoever serves them. Nothing here is believed by being here. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ensurePrivateDirectory, writePrivateFile } from './private-file.ts'
import { EXIT, UserError } from './user-error.ts'

export interface LogFiles {
  /** By its path below the log's prefix. Undefined if there is none, `archived` if it was there once. */
  read(path: string): Promise<Uint8Array | 'archived' | undefined>
}

export const CHECKPOINT_FILE = 'checkpoint'

/** What the first has, and from the second what it has not. */
export const eitherOf = (first: LogFiles, second: LogFiles): LogFiles => ({
  async read(path) {
    const found = await first.read(path)
    return found instanceof Uint8Array ? found : ((await second.read(path)) ?? found)
  },
})

/**
 * Written for its owner alone, since entries name people, machines and secrets; read however it was copied since, because every byte of it is
 * verified.
 */
export class LogDirectory implements LogFiles {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    return readFileIfThere(join(this.#path, path))
  }

  has(path: string): boolean {
    return existsSync(join(this.#path, path))
  }

  write(path: string, content: Uint8Array | string): void {
    const target = join(this.#path, path)
    ensurePrivateDirectory(this.#path)
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 })
    writePrivateFile(target, content)
  }

  /** Once a tile is full, its partial forms say nothing more. */
  removePartial(path: string): void {
    rmSync(join(this.#path, `${path}.p`), { recursive: true, force: true })
  }
}

/** Undefined if there is none. @throws UserError if it cannot be read. */
export function readFileIfThere(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    if (code === 'ENOENT') return undefined
    throw new UserError({
      code: 'E_FILE_UNREADABLE',
      message: `${path} cannot be read`,
      why: code,
      exitCode: EXIT.badConfig,
    })
  }
}
