/** Flags and arguments of one command: read strictly, typed from their declaration. */
import { parseArgs } from 'node:util'
import { didYouMean } from './did-you-mean.ts'
import { EXIT, UserError } from './user-error.ts'

export interface OptionSpec {
  readonly type: 'string' | 'boolean'
  readonly help: string
  readonly short?: string
  /** What the value is called in the help. */
  readonly value?: string
  readonly multiple?: true
  readonly default?: string
  readonly choices?: readonly string[]
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>

type Text<S extends OptionSpec> = S extends { choices: readonly (infer Choice)[] } ? Choice : string
type Value<S extends OptionSpec> = S extends { type: 'boolean' }
  ? boolean
  : S extends { multiple: true }
    ? readonly Text<S>[]
    : S extends { default: string }
      ? Text<S>
      : Text<S> | undefined
export type OptionValues<O extends OptionSpecs> = { readonly [K in keyof O]: Value<O[K]> }

/** Of every command that prints data. */
export const outputOption = {
  type: 'string',
  short: 'o',
  value: 'FORMAT',
  default: 'table',
  choices: ['table', 'json'],
  help: 'table or json',
} as const satisfies OptionSpec

export const usageError = (message: string, fix?: string): UserError =>
  new UserError({ code: 'E_USAGE', message, fix, exitCode: EXIT.usage })

/** @throws UserError for a flag that does not exist, lacks its value or has one it does not take. */
export function readOptions<const O extends OptionSpecs>(
  specs: O,
  args: readonly string[],
): { options: OptionValues<O>; positionals: string[] } {
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    options: parserOptions(specs),
  })
  const positionals: string[] = []
  const found = new Map<string, (string | boolean)[]>()
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    if (token.kind === 'option') {
      found.set(token.name, [...(found.get(token.name) ?? []), checkValue(specs, token)])
    }
  }
  const values = Object.entries(specs).map(([name, spec]) => [name, settle(spec, found.get(name) ?? [])])
  // The one place where the declaration's types are vouched for: settle gives what Value<S> says.
  return { options: Object.fromEntries(values) as OptionValues<O>, positionals }
}

function parserOptions(specs: OptionSpecs) {
  const entries = Object.entries(specs).map(
    ([name, { type, short }]) => [name, { type, ...(short && { short }) }] as const,
  )
  return Object.fromEntries(entries)
}

function settle(spec: OptionSpec, given: readonly (string | boolean)[]): unknown {
  if (spec.type === 'boolean') return given.length > 0
  return spec.multiple ? given : (given.at(-1) ?? spec.default)
}

interface OptionToken {
  readonly name: string
  readonly rawName: string
  readonly value?: string | undefined
  readonly inlineValue?: boolean | undefined
}

function checkValue(
  specs: OptionSpecs,
  { name, rawName, value, inlineValue }: OptionToken,
): string | boolean {
  const spec = Object.hasOwn(specs, name) ? specs[name] : undefined
  if (spec === undefined) {
    const known = Object.keys(specs).map((other) => `--${other}`)
    throw usageError(`there is no flag ${rawName}`, didYouMean(rawName, known))
  }
  if (spec.type === 'boolean') {
    if (value !== undefined) throw usageError(`${rawName} takes no value`)
    return true
  }
  const valueName = spec.value ?? 'VALUE'
  if (value === undefined) throw usageError(`${rawName} needs a value`, `${rawName} ${valueName}`)
  // `--ttl --uses 1` has forgotten the first value rather than meant `--uses` as one.
  if (inlineValue !== true && /^-./.test(value)) {
    throw usageError(`${rawName} needs a value`, `write ${rawName}=${value} if the value does start with -`)
  }
  if (spec.choices !== undefined && !spec.choices.includes(value)) {
    throw usageError(`${rawName} is one of ${spec.choices.join(', ')}`, didYouMean(value, spec.choices))
  }
  return value
}
