/** The text of `--help`. */
import type { OptionSpec, OptionSpecs } from './options.ts'

interface DescribedCommand {
  readonly summary: string
  readonly details?: string
  readonly options: OptionSpecs
  readonly positionals: readonly string[]
  readonly rest?: string
}

export function commandHelp(
  path: string,
  { summary, details, options, positionals, rest }: DescribedCommand,
): string {
  const flags = Object.entries(options)
  const words = [path, ...positionals, ...flags.map(([name, spec]) => usageOf(name, spec))]
  if (rest !== undefined) words.push('--', rest)
  const rows = flags.map(([name, spec]) => [nameOf(name, spec), describe(spec)] as const)
  return paragraphs(summary, `usage: ${words.join(' ')}`, details, aligned(rows))
}

interface DescribedGroup {
  readonly summary: string
  readonly details?: string
  readonly commands: readonly { readonly name: string; readonly summary: string }[]
}

export function groupHelp(path: string, { summary, details, commands }: DescribedGroup): string {
  const rows = commands.map((command) => [command.name, command.summary] as const)
  return paragraphs(
    summary,
    `usage: ${path} COMMAND`,
    aligned(rows),
    details,
    `${path} COMMAND --help says more.`,
  )
}

function usageOf(name: string, spec: OptionSpec): string {
  const flag = spec.type === 'boolean' ? `--${name}` : `--${name} ${spec.value ?? 'VALUE'}`
  return `[${flag}]${spec.multiple ? '...' : ''}`
}

function nameOf(name: string, { type, short, value = 'VALUE' }: OptionSpec): string {
  const flag = short === undefined ? `--${name}` : `-${short}, --${name}`
  return type === 'boolean' ? flag : `${flag} ${value}`
}

const describe = (spec: OptionSpec): string =>
  spec.default === undefined ? spec.help : `${spec.help} (default ${spec.default})`

function aligned(rows: readonly (readonly [string, string])[]): string | undefined {
  if (rows.length === 0) return undefined
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`).join('\n')
}

const paragraphs = (...parts: readonly (string | undefined)[]): string =>
  `${parts.filter((part) => part !== undefined).join('\n\n')}\n`
