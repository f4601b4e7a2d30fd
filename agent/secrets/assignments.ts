/** `--secret`, `--file` and `--pipe ENV=NAME`: which secrets a command gets, in which form, and under which names. */
import { usageError } from '../../host/options.ts'
import { MAX_SECRETS_PER_FETCH } from '../../protocol/limits.ts'
import { parseReference, type SecretReference, uniqueReferences } from './reference.ts'

export interface Assignment {
  readonly variable: string
  readonly reference: SecretReference
  /** The value itself in the variable, or the path of a file or a pipe. */
  readonly form: 'value' | 'file' | 'pipe'
}

/** POSIX, section 8.1, with lower case as shells take it. */
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/

interface Texts {
  readonly secret: readonly string[]
  readonly file: readonly string[]
  readonly pipe: readonly string[]
}

/** @throws UserError for a usage that cannot be meant. */
export function parseAssignments({ secret, file, pipe }: Texts): Assignment[] {
  const assignments = [
    ...secret.map((text) => parseAssignment('--secret', 'value', text)),
    ...file.map((text) => parseAssignment('--file', 'file', text)),
    ...pipe.map((text) => parseAssignment('--pipe', 'pipe', text)),
  ]
  const variables = new Set(assignments.map(({ variable }) => variable))
  if (variables.size < assignments.length)
    throw usageError('an environment variable is given twice', 'name each ENV once')
  if (referencesOf(assignments).length > MAX_SECRETS_PER_FETCH) {
    throw usageError(
      `more than ${MAX_SECRETS_PER_FETCH} secrets are asked for at once`,
      'put values that belong together in one secret',
    )
  }
  return assignments
}

export const referencesOf = (assignments: readonly Assignment[]): SecretReference[] =>
  uniqueReferences(assignments.map(({ reference }) => reference))

function parseAssignment(flag: string, form: Assignment['form'], text: string): Assignment {
  const separator = text.indexOf('=')
  const variable = text.slice(0, Math.max(0, separator))
  if (!VARIABLE.test(variable)) {
    throw usageError(
      `${flag} takes ENV=NAME, and ENV is letters, digits and _`,
      `for example ${flag} TOKEN=api.token`,
    )
  }
  return { variable, reference: parseReference(text.slice(separator + 1), `${flag} ${variable}=…`), form }
}
