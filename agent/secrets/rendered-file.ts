/** A file made of a template and its secrets: replaced whole, and only when its content is another. */
import { lstatSync, readFileSync } from 'node:fs'
import { writePrivateFile } from '../../host/private-file.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { failureOf, refusedAmong } from './fetch-failure.ts'
import type { Secrets } from './kept-secrets.ts'
import { referenceText } from './reference.ts'
import type { Template } from './template.ts'

interface Options {
  readonly template: Template
  readonly path: string
  readonly mode: number
}

export class RenderedFile {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  /** @returns whether its content is new. @throws UserError, and then it is as it was. */
  write(secrets: Secrets): boolean {
    const { template, path, mode } = this.#options
    const content = template.render((reference) => {
      const received = secrets.get(referenceText(reference))
      if (received === undefined) throw new Error('a secret that was asked for is not there')
      return received.value.expose()
    })
    try {
      if (this.#isAlready(content)) return false
      writePrivateFile(path, content, mode)
      return true
    } catch (error) {
      throw error instanceof UserError ? error : cannotWrite(path, error)
    } finally {
      content.fill(0)
    }
  }

  /** A refusal of a secret, with the place in the template that wants it. */
  locate(error: UserError): UserError {
    const { template } = this.#options
    if (!['denied', 'absent'].includes(failureOf(error))) return error
    const places = refusedAmong(error, template.references).flatMap((reference) =>
      template.placesOf(reference),
    )
    return new UserError({
      code: error.code,
      message: `${places.join(', ')}: ${error.message}`,
      why: error.why,
      fix: error.fix,
      exitCode: error.exitCode,
      requestId: error.requestId,
    })
  }

  /** Only a file of our own: whoever else it belongs to could change it as soon as we have looked. */
  #isAlready(content: Uint8Array): boolean {
    const { path, mode } = this.#options
    const status = lstatSync(path, { throwIfNoEntry: false })
    if (status?.isFile() !== true || (status.mode & 0o7777) !== mode) return false
    if (status.uid !== process.getuid?.() || status.size !== content.length) return false
    const before = readFileSync(path)
    const isSame = before.equals(content)
    before.fill(0)
    return isSame
  }
}

const cannotWrite = (path: string, error: unknown): UserError =>
  new UserError({
    code: 'E_RENDER_WRITE',
    message: `${path} cannot be written`,
    why: error instanceof Error ? error.message : String(error),
    exitCode: EXIT.badConfig,
  })
