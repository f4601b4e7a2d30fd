/** Gathers what is wrong with a configuration, so that it is told all at once and before anything is done (R8). */
import { type ConfigProblem, EXIT, UserError } from './user-error.ts'

export class ConfigProblems {
  readonly #found: ConfigProblem[] = []

  get found(): readonly ConfigProblem[] {
    return this.#found
  }

  add(problem: ConfigProblem): void {
    this.#found.push(problem)
  }

  /** The result, or undefined and a problem the more. */
  attempt<T>(place: Pick<ConfigProblem, 'setting' | 'source'>, parse: () => T): T | undefined {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      const { code, message, why, fix } = error
      this.add({ ...place, code, message: why === undefined ? message : `${message}: ${why}`, fix })
      return undefined
    }
  }

  /** @throws UserError that names every problem. */
  throwIfAny(): void {
    const count = this.#found.length
    if (count === 0) return
    throw new UserError({
      code: 'E_CONFIG',
      message: `the configuration has ${count === 1 ? 'a problem' : `${count} problems`}`,
      problems: this.#found,
      exitCode: EXIT.badConfig,
    })
  }
}
