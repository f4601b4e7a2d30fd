/** A command's secrets in the forms it wants them: variables, files in memory, pipes. Each time they change, all of them anew. */
import { join } from 'node:path'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { writePrivateFile } from '../../host/private-file.ts'
import { UserError } from '../../host/user-error.ts'
import type { Clock } from '../clock.ts'
import type { Assignment } from './assignments.ts'
import type { Secrets } from './kept-secrets.ts'
import { referenceText } from './reference.ts'
import { RuntimeDirectory } from './runtime-directory.ts'
import { SecretPipe } from './secret-pipe.ts'
import { secretText } from './secret-text.ts'

interface Options {
  readonly assignments: readonly Assignment[]
  readonly maxReads: number
  readonly clock: Clock
  /** Where files in memory may go. */
  readonly env: NodeJS.ProcessEnv
}

export class CommandSecrets {
  readonly #options: Options
  #directory: RuntimeDirectory | undefined
  readonly #pipes = new Map<string, SecretPipe>()

  constructor(options: Options) {
    this.#options = options
  }

  /** @returns the variables. @throws UserError before anything has changed if one of the values cannot be had in its form. */
  provide(secrets: Secrets): Record<string, string> {
    const values = this.#options.assignments.map((assignment) => {
      const received = secrets.get(referenceText(assignment.reference))
      if (received === undefined) throw new Error('a secret that was asked for is not there')
      return { ...assignment, value: received.value }
    })
    const texts = values.map(({ variable, reference, form, value }) => [
      variable,
      form === 'value' ? secretText(variable, reference, value) : this.#pathOf(variable),
    ])
    for (const { variable, form, value } of values) {
      if (form === 'file') this.#placeFile(variable, value)
      if (form === 'pipe') this.#placePipe(variable, value)
    }
    return Object.fromEntries(texts)
  }

  /** Wipes and removes what the command had as files. */
  remove(): void {
    for (const pipe of this.#pipes.values()) pipe.close()
    this.#pipes.clear()
    this.#directory?.remove()
    this.#directory = undefined
  }

  #pathOf(variable: string): string {
    this.#directory ??= RuntimeDirectory.open(this.#options.env)
    return join(this.#directory.path, variable)
  }

  #placeFile(variable: string, value: SecretBytes): void {
    try {
      writePrivateFile(this.#pathOf(variable), value.expose())
    } catch (error) {
      if (error instanceof UserError) throw error
      throw new UserError({
        code: 'E_SECRET_FILE',
        message: `the secret for ${variable} cannot be put into memory as a file`,
        why: error instanceof Error ? error.message : String(error),
        fix: 'look with df whether the tmpfs is full',
      })
    }
  }

  /** With all of its reads again: it is for another value, or for another start of the command. */
  #placePipe(variable: string, value: SecretBytes): void {
    const { maxReads, clock } = this.#options
    const path = this.#pathOf(variable)
    this.#pipes.get(variable)?.close()
    const copy = SecretBytes.take(Uint8Array.from(value.expose()))
    this.#pipes.set(variable, new SecretPipe(path, copy, maxReads, clock))
  }
}
