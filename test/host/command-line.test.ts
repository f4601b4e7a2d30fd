import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Command, defineCommand, defineGroup } from '../../host/command-line.ts'
import { outputOption } from '../../host/options.ts'
import { UserError } from '../../host/user-error.ts'

let printed = ''
let seen: unknown

beforeEach(() => {
  printed = ''
  seen = undefined
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text)
    return true
  })
})
afterEach(() => vi.restoreAllMocks())

const show = defineCommand({
  name: 'show',
  summary: 'Shows one thing',
  details: 'More about it.',
  positionals: ['NAME'],
  options: {
    tag: { type: 'string', value: 'TAG', multiple: true, help: 'a tag' },
    ttl: { type: 'string', value: 'SPAN', default: '10m', help: 'how long' },
    file: { type: 'string', help: 'a file' },
    yes: { type: 'boolean', help: 'no questions' },
    output: outputOption,
  },
  run: (input) => {
    seen = input
  },
})

const ls = defineCommand({
  name: 'ls',
  summary: 'Lists things',
  run: () => {
    seen = 'listed'
  },
})

const find = defineCommand({
  name: 'find',
  summary: 'Finds things',
  positionals: ['NAME'],
  optional: ['FOLDER', 'DEPTH'],
  run: ({ positionals }) => {
    seen = positionals
  },
})

const change = defineCommand({
  name: 'change',
  summary: 'Changes things',
  positionals: ['NAME'],
  words: { name: '[+X | -X]...', pattern: /^[+-][a-z]+$/ },
  options: { yes: { type: 'boolean', help: 'no questions' } },
  run: (input) => {
    seen = input
  },
})

const program = defineGroup({
  name: 'prog',
  summary: 'A program.',
  commands: [
    defineGroup({
      name: 'thing',
      plural: 'things',
      summary: 'Things',
      commands: [show, ls, find, change],
    }),
    defineCommand({
      name: 'exec',
      aliases: ['run'],
      summary: 'Runs a command',
      rest: 'CMD ARGS...',
      run: ({ rest }) => {
        seen = rest
        return 7
      },
    }),
  ],
})

const run = (line: string, command: Command = program): Promise<number | undefined> =>
  command.execute(line.split(' ').filter(Boolean), 'prog')

async function failure(line: string): Promise<UserError> {
  const error: unknown = await run(line).catch((caught: unknown) => caught)
  if (error instanceof UserError) return error
  throw new Error(`${line} did not fail as it should: ${String(error)}`)
}

test('flags are typed, have defaults and stand anywhere', async () => {
  await run('thing show --tag a name --tag=b -o json --yes')
  expect(seen).toEqual({
    positionals: { NAME: 'name' },
    options: { tag: ['a', 'b'], ttl: '10m', file: undefined, yes: true, output: 'json' },
    words: [],
    rest: [],
  })
  await run('thing show name')
  expect(seen).toMatchObject({ options: { tag: [], yes: false, output: 'table' } })
})

test('a value may start with a dash or hold anything, behind =', async () => {
  await run('thing show name --file=-x=y --ttl=')
  expect(seen).toMatchObject({ options: { file: '-x=y', ttl: '' } })
})

test('the plural lists, an alias is the same command', async () => {
  await run('things')
  expect(seen).toBe('listed')
  expect(await run('run -- true')).toBe(7)
})

test('what follows -- is passed on as it is', async () => {
  expect(await run('exec -- cmd --help -x -- --tag')).toBe(7)
  expect(seen).toEqual(['cmd', '--help', '-x', '--', '--tag'])
})

test.each([
  ['thing shwo x', 'did you mean show?'],
  ['thnig show x', 'did you mean thing?'],
  ['thing show x --tga y', 'did you mean --tag?'],
  ['thing show x --file --yes', 'write --file=--yes if the value does start with -'],
  ['thing show x -o jsno', 'did you mean json?'],
])('%s: %s', async (line, fix) => {
  expect(await failure(line)).toMatchObject({ code: 'E_USAGE', exitCode: 2, fix })
})

test.each([
  'nonsense',
  '--yes',
  'thing show',
  'thing show a b',
  'thing show a --file',
  'thing show a --yes=1',
  'thing show a --no-yes',
  'thing show a --__proto__=1',
  'thing show a -x',
  'thing ls -- x',
  'exec',
  'exec --',
  'exec cmd',
])('%s is wrong', async (line) => {
  expect(await failure(line)).toMatchObject({ code: 'E_USAGE', exitCode: 2 })
})

test.each(['', '--help', '-h', 'help'])('%j shows the commands', async (line) => {
  await run(line)
  expect(printed).toMatch(/A program\.[\s\S]*thing +Things[\s\S]*exec +Runs a command/)
})

test.each(['thing show --help', 'thing show name --nonsense --help'])(
  '%s describes the command',
  async (line) => {
    await run(line)
    expect(printed).toContain('usage: prog thing show NAME [--tag TAG]... [--ttl SPAN]')
    expect(printed).toContain('how long (default 10m)')
    expect(printed).toContain('More about it.')
    expect(seen).toBeUndefined()
  },
)

test('arguments that may be left out are undefined, are shown in brackets, and are not more than there are', async () => {
  await program.execute(['thing', 'find', 'a'], 'prog')
  expect(seen).toEqual({ NAME: 'a' })
  await program.execute(['thing', 'find', 'a', 'b'], 'prog')
  expect(seen).toEqual({ NAME: 'a', FOLDER: 'b' })
  await program.execute(['thing', 'find', 'a', 'b', 'c'], 'prog')
  expect(seen).toEqual({ NAME: 'a', FOLDER: 'b', DEPTH: 'c' })
  await expect(program.execute(['thing', 'find'], 'prog')).rejects.toThrow('NAME is missing')
  await expect(program.execute(['thing', 'find', 'a', 'b', 'c', 'd'], 'prog')).rejects.toThrow('"d"')
  await program.execute(['thing', 'find', '--help'], 'prog')
  expect(printed).toContain('usage: prog thing find NAME [FOLDER] [DEPTH]')
})

test('words of a form are no flags, though they begin with a dash', async () => {
  await run('thing change +a -b name --yes +c')
  expect(seen).toMatchObject({
    positionals: { NAME: 'name' },
    words: ['+a', '-b', '+c'],
    options: { yes: true },
  })
  await run('thing change name')
  expect(seen).toMatchObject({ words: [] })
  expect((await failure('thing change name +A')).message).toContain('+A')
  expect((await failure('thing change name -1')).message).toContain('-1')
  expect((await failure('thing show name -b')).message).toContain('-b')
  await run('thing change --help')
  expect(printed).toContain('usage: prog thing change NAME [+X | -X]... [--yes]')
})
