/** A small command framework: `PROGRAM NOUN VERB [ARGS] [FLAGS] [-- REST]`, with help, suggestions and exit codes. */
import { didYouMean } from './did-you-mean.ts'
import { commandHelp, groupHelp } from './help.ts'
import { type OptionSpecs, type OptionValues, readOptions, usageError } from './options.ts'
import { printError } from './user-error.ts'

export interface Command {
  readonly name: string
  readonly aliases: readonly string[]
  readonly summary: string
  /** @param path the words before the arguments, for help. @returns the exit code, 0 if undefined. */
  execute(args: readonly string[], path: string): Promise<number | undefined>
}

interface CommandDefinition<O extends OptionSpecs, P extends string, Q extends string> {
  readonly name: string
  readonly aliases?: readonly string[]
  readonly summary: string
  /** Further paragraphs of the help. */
  readonly details?: string
  readonly options?: O
  /** Names of the arguments, each required. */
  readonly positionals?: readonly P[]
  /** Names of the arguments after those, which may be left out from the last on. */
  readonly optional?: readonly Q[]
  /** Further words, which are no flags although they may begin with `-`: those that match, and what the help calls them. */
  readonly words?: { readonly name: string; readonly pattern: RegExp }
  /** What the words after `--` are called; without it there must be none. */
  readonly rest?: string
  run(input: {
    readonly options: OptionValues<O>
    readonly positionals: Readonly<Record<P, string> & Partial<Record<Q, string>>>
    readonly words: readonly string[]
    readonly rest: readonly string[]
    // biome-ignore lint/suspicious/noConfusingVoidType: a command that ends well need not return anything
  }): Promise<number | void> | number | void
}

export function defineCommand<
  // biome-ignore lint/complexity/noBannedTypes: the type of a declaration without flags
  const O extends OptionSpecs = {},
  const P extends string = never,
  const Q extends string = never,
>(definition: CommandDefinition<O, P, Q>): Command {
  const { name, aliases = [], summary, positionals = [], optional = [], words, rest } = definition
  const specs = definition.options ?? ({} as O)
  return {
    name,
    aliases,
    summary,
    async execute(args, path) {
      const { before, after } = splitRest(args)
      if (asksForHelp(before)) {
        const named = [...positionals, ...optional.map((word) => `[${word}]`)]
        if (words !== undefined) named.push(words.name)
        return show(commandHelp(path, { ...definition, options: specs, positionals: named }))
      }
      const isWord = (arg: string): boolean => words?.pattern.test(arg) === true
      const read = readOptions(
        specs,
        before.filter((arg) => !isWord(arg)),
      )
      const input = {
        options: read.options,
        positionals: nameArguments(positionals, optional, read.positionals, path),
        words: before.filter(isWord),
        rest: checkRest(rest, after, path),
      }
      return (await definition.run(input)) ?? undefined
    },
  }
}

interface GroupDefinition {
  readonly name: string
  readonly summary: string
  readonly commands: readonly Command[]
  readonly details?: string
  /** `claw nodes` for `claw node ls`. */
  readonly plural?: string
}

/** A noun and its verbs, or the whole program. */
export function defineGroup(definition: GroupDefinition): Command {
  const { name, summary, commands, plural } = definition
  const find = (word: string) =>
    commands.find((command) => command.name === word || command.aliases.includes(word))
  return {
    name,
    aliases: plural === undefined ? [] : [plural],
    summary,
    async execute(args, path) {
      const [first, ...others] = path.split(' ').at(-1) === plural ? ['ls', ...args] : args
      if (first === undefined || first === 'help' || asksForHelp([first]))
        return show(groupHelp(path, definition))
      const command = find(first)
      if (command !== undefined) return command.execute(others, `${path} ${first}`)
      const known = commands.flatMap((other) => [other.name, ...other.aliases])
      const what = first.startsWith('-') ? 'takes no flags before the command' : `has no command ${first}`
      throw usageError(`${path} ${what}`, didYouMean(first, known) ?? `${path} --help`)
    },
  }
}

/** Runs the program on this process's arguments and sets its exit code. */
export async function runMain(program: Command): Promise<void> {
  const args = process.argv.slice(2)
  endQuietlyWhenReaderLeaves()
  try {
    process.exitCode = (await program.execute(args, program.name)) ?? 0
  } catch (error) {
    process.exitCode = printError(error, { json: asksForJson(splitRest(args).before) })
  }
}

/** `claw node ls | head -1` is no failure. */
function endQuietlyWhenReaderLeaves(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit()
    throw error
  })
}

function splitRest(args: readonly string[]): {
  before: readonly string[]
  after: readonly string[] | undefined
} {
  const index = args.indexOf('--')
  if (index === -1) return { before: args, after: undefined }
  return { before: args.slice(0, index), after: args.slice(index + 1) }
}

const asksForHelp = (args: readonly string[]): boolean => args.includes('--help') || args.includes('-h')

const asksForJson = (args: readonly string[]): boolean =>
  args.some(
    (arg, index) =>
      arg === '--output=json' ||
      arg === '-ojson' ||
      (arg === 'json' && /^(-o|--output)$/.test(args[index - 1] ?? '')),
  )

function nameArguments<P extends string, Q extends string>(
  required: readonly P[],
  optional: readonly Q[],
  values: readonly string[],
  path: string,
): Record<P, string> & Partial<Record<Q, string>> {
  const missing = required[values.length]
  if (missing !== undefined) throw usageError(`${missing} is missing`, `${path} --help`)
  const names = [...required, ...optional]
  const surplus = values[names.length]
  if (surplus !== undefined)
    throw usageError(`${JSON.stringify(surplus)} is one argument too many`, `${path} --help`)
  // The one place where the declaration's types are vouched for: every required name has its value.
  return Object.fromEntries(values.map((value, index) => [names[index], value])) as Record<P, string> &
    Partial<Record<Q, string>>
}

function checkRest(
  name: string | undefined,
  after: readonly string[] | undefined,
  path: string,
): readonly string[] {
  if (name === undefined && after !== undefined) throw usageError(`${path} takes nothing after --`)
  if (name !== undefined && (after === undefined || after.length === 0)) {
    throw usageError(`${name} is missing`, `put it after --, as in ${path} ... -- ${name}`)
  }
  return after ?? []
}

function show(text: string): number {
  process.stdout.write(text)
  return 0
}
