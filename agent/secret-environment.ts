/** `--secret ENV=NAME`: which secrets a command gets, and under which names. */
import type { SecretBytes } from '../crypto/secret-bytes.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { SecretName } from '../protocol/ids.ts'
import { MAX_SECRETS_PER_FETCH } from '../protocol/limits.ts'

export interface Assignment {
  readonly variable: string
  readonly secret: SecretName
}

/** Strict, and unlike the default it leaves a byte order mark where it is: the value arrives as it was stored. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** POSIX, section 8.1, with lower case as shells take it. */
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/

export function parseAssignments(texts: readonly string[]): Assignment[] {
  const assignments = texts.map(parseAssignment)
  const variables = new Set(assignments.map(({ variable }) => variable))
  if (variables.size < assignments.length)
    throw usage('an environment variable is given twice', 'name each ENV once')
  if (secretNames(assignments).length > MAX_SECRETS_PER_FETCH) {
    throw usage(
      `more than ${MAX_SECRETS_PER_FETCH} secrets are asked for at once`,
      'put values that belong together in one secret',
    )
  }
  return assignments
}

export const secretNames = (assignments: readonly Assignment[]): SecretName[] => [
  ...new Set(assignments.map(({ secret }) => secret)),
]

/**
 * The environment holds text, so this is where a value becomes a string, which cannot be wiped. @throws UserError if a value is not text.
 */
export function secretEnvironment(
  assignments: readonly Assignment[],
  values: ReadonlyMap<SecretName, SecretBytes>,
): Record<string, string> {
  return Object.fromEntries(
    assignments.map(({ variable, secret }) => [variable, toText(secret, values.get(secret))]),
  )
}

function parseAssignment(text: string): Assignment {
  const separator = text.indexOf('=')
  const variable = text.slice(0, Math.max(0, separator))
  const secret = SecretName.safeParse(text.slice(separator + 1))
  if (!VARIABLE.test(variable))
    throw usage(
      '--secret takes ENV=NAME, and ENV is letters, digits and _',
      'for example --secret TOKEN=api.token',
    )
  if (!secret.success)
    throw usage(`--secret ${variable}=…: ${secret.error.issues[0]?.message ?? 'not a secret name'}`)
  return { variable, secret: secret.data }
}

function toText(name: SecretName, value: SecretBytes | undefined): string {
  const text = value && decode(value)
  if (text !== undefined) return text
  throw new UserError({
    code: 'E_SECRET_NOT_TEXT',
    message: `the secret ${name} cannot be an environment variable`,
    why: 'a variable holds UTF-8 text without NUL',
    fix: `store it as text, for instance in base64: base64 < FILE | claw secret set ${name}`,
  })
}

function decode(value: SecretBytes): string | undefined {
  if (value.expose().includes(0)) return undefined
  try {
    return decoder.decode(value.expose())
  } catch {
    return undefined
  }
}

const usage = (message: string, fix?: string): UserError =>
  new UserError({ code: 'E_USAGE', message, fix, exitCode: EXIT.usage })
