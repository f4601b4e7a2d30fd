/**
 * Settings from a file, the environment and flags, in rising precedence. Only their form is checked here; a name that is not known is a
 * problem wherever it stands, because a misspelled setting would otherwise be one that is silently not there.
 */
import type { ConfigProblems } from './config-problems.ts'
import { didYouMean } from './did-you-mean.ts'

interface SettingSpec {
  readonly kind: 'text' | 'boolean' | 'integer' | 'list'
  /** Names of the variable; the first that is set counts. */
  readonly env: readonly string[]
  /** As it is called on the command line. */
  readonly flag?: string
}

export type SettingSpecs = Readonly<Record<string, SettingSpec>>

type Value<S extends SettingSpec> = {
  text: string
  boolean: boolean
  integer: number
  list: readonly string[]
}[S['kind']]

export interface Setting<T> {
  readonly value: T
  readonly source: string
}

/** A setting that nobody made is not there. */
export type Settings<S extends SettingSpecs> = { readonly [K in keyof S]?: Setting<Value<S[K]>> }

interface Layers<S extends SettingSpecs> {
  readonly file?: { readonly path: string; readonly table: Readonly<Record<string, unknown>> } | undefined
  readonly env: NodeJS.ProcessEnv
  /** Which variables are this program's. */
  readonly prefix: string
  /** Variables with that prefix that are no settings. */
  readonly otherVariables: readonly string[]
  readonly flags: { readonly [K in keyof S]?: string | boolean | readonly string[] | undefined }
}

export function readSettings<const S extends SettingSpecs>(
  specs: S,
  layers: Layers<S>,
  problems: ConfigProblems,
): Settings<S> {
  const settings: Record<string, Setting<unknown>> = {}
  const place = (name: string, source: string, value: unknown) => {
    if (value === undefined)
      problems.add({ setting: name, source, code: 'E_CONFIG_TYPE', ...formOf(specs[name]) })
    else settings[name] = { value, source }
  }
  const { file, env, flags } = layers
  for (const [name, value] of Object.entries(file?.table ?? {})) {
    const spec = Object.hasOwn(specs, name) ? specs[name] : undefined
    if (spec === undefined) problems.add(unknown(name, file?.path ?? '', Object.keys(specs)))
    else place(name, file?.path ?? '', fromToml(spec, value))
  }
  checkVariables(specs, layers, problems)
  for (const [name, spec] of Object.entries(specs)) {
    const variable = spec.env.find((candidate) => env[candidate] !== undefined)
    if (variable !== undefined) place(name, variable, fromText(spec, env[variable] ?? ''))
    const flag = flags[name]
    if (flag === undefined || (Array.isArray(flag) && flag.length === 0)) continue
    place(name, spec.flag ?? name, typeof flag === 'string' ? fromText(spec, flag) : flag)
  }
  // The one place where the declaration's types are vouched for: what is placed has the form of its kind.
  return settings as Settings<S>
}

function checkVariables(
  specs: SettingSpecs,
  { env, prefix, otherVariables }: Pick<Layers<SettingSpecs>, 'env' | 'prefix' | 'otherVariables'>,
  problems: ConfigProblems,
): void {
  const known = [...Object.values(specs).flatMap((spec) => spec.env), ...otherVariables]
  for (const variable of Object.keys(env)) {
    if (variable.startsWith(prefix) && !known.includes(variable))
      problems.add(unknown(variable, 'environment', known))
  }
}

const unknown = (name: string, source: string, known: readonly string[]) => ({
  setting: name,
  source,
  code: 'E_CONFIG_UNKNOWN',
  message: 'there is no such setting',
  fix: didYouMean(name, known),
})

function fromToml({ kind }: SettingSpec, value: unknown): unknown {
  switch (kind) {
    case 'text':
      return typeof value === 'string' ? notEmpty(value) : undefined
    case 'boolean':
      return typeof value === 'boolean' ? value : undefined
    case 'integer':
      return Number.isSafeInteger(value) ? value : undefined
    case 'list': {
      const list = typeof value === 'string' ? [value] : value
      return Array.isArray(list) && list.every((item) => typeof item === 'string')
        ? notEmpty(list)
        : undefined
    }
  }
}

function fromText({ kind }: SettingSpec, text: string): unknown {
  switch (kind) {
    case 'text':
      return notEmpty(text)
    case 'boolean':
      return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : undefined
    case 'integer':
      return /^[0-9]{1,9}$/.test(text) ? Number(text) : undefined
    case 'list':
      return notEmpty(text.split(/[\s,]+/).filter((item) => item !== ''))
  }
}

/** An empty list of pins would be none at all, and an empty directory the current one. */
const notEmpty = <T extends { readonly length: number }>(value: T): T | undefined =>
  value.length === 0 ? undefined : value

const FORMS = {
  text: 'it is a text, and not an empty one',
  boolean: 'it is true or false',
  integer: 'it is a whole number',
  list: 'it is a text or a list of texts, and not an empty one',
} as const

const formOf = (spec: SettingSpec | undefined) => ({ message: FORMS[spec?.kind ?? 'text'] })
