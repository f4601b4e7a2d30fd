/** `claw api-key`: named credentials of people and programs, each with one role. `claw whoami`: which one this is. */
import { lstatSync } from 'node:fs'
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { parseDuration } from '../../host/duration.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { ago, printJson, printJsonList, table } from '../../host/output.ts'
import { plainText } from '../../host/plain-text.ts'
import { createPrivateFile } from '../../host/private-file.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { ApiKeyCreateBody, type ApiKeyItem } from '../../protocol/api-keys.ts'
import { MAX_API_KEY_TTL_MS } from '../../protocol/limits.ts'
import { Role } from '../../protocol/roles.ts'
import { connectionOptions, withGateway } from '../connection.ts'

const create = defineCommand({
  name: 'create',
  summary: 'Make an API key',
  details: `viewer: reads lists, nodes, metrics and the audit trail. operator: also makes join tokens, and tags, holds, releases and
removes nodes. admin: everything else too, secrets, policies and API keys among it.
The token is told this once. With --file it goes into a file that only you can read, for --token-file or CLAW_TOKEN_FILE.`,
  positionals: ['NAME'],
  options: {
    role: { type: 'string', value: 'ROLE', choices: Role.options, help: Role.options.join(', ') },
    ttl: {
      type: 'string',
      value: 'SPAN',
      help: 'how long it is valid: 30s, 10m, 2h, 30d; else it has no end',
    },
    file: { type: 'string', value: 'FILE', help: 'write the token there instead of to standard output' },
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals: { NAME } }) {
    const { role, file } = options
    if (role === undefined) throw usageError('--role is missing', `claw api-key create ${NAME} --role viewer`)
    const ttlMs = options.ttl === undefined ? undefined : parseDuration(options.ttl)
    const body = ApiKeyCreateBody.safeParse({ name: NAME, role, ttlMs })
    if (!body.success)
      throw usageError(body.error.issues.map(ruleOf).join('; '), 'claw api-key create --help')
    if (file !== undefined && lstatSync(file, { throwIfNoEntry: false }) !== undefined) throw fileExists(file)
    const { token, key } = await withGateway(options, async (client) => {
      const created = await client.createApiKey(body.data)
      if (file !== undefined) await saveOr(file, created.token, () => client.revokeApiKey(NAME))
      return created
    })
    if (options.output === 'json') printJson(file === undefined ? { token, key } : { key })
    else if (file === undefined) process.stdout.write(`${token}\n`)
    process.stderr.write(`API key ${NAME}, role ${key.role}, ${ending(key, new Date())}\n`)
  },
})

const ls = defineCommand({
  name: 'ls',
  summary: 'List API keys',
  options: { output: outputOption, ...connectionOptions },
  async run({ options }) {
    const keys = await withGateway(options, (client) => client.apiKeys())
    if (options.output === 'json') return printJsonList('ApiKeyList', keys)
    process.stdout.write(keyTable(keys, new Date()))
  },
})

const revoke = defineCommand({
  name: 'revoke',
  summary: 'Make an API key useless, from the next request on',
  details: 'Keys that were made with it stay; they are named.',
  positionals: ['NAME'],
  options: connectionOptions,
  async run({ options, positionals: { NAME } }) {
    const made = await withGateway(options, async (client) => {
      const keys = await client.apiKeys()
      await client.revokeApiKey(NAME)
      return keys.filter(({ createdBy, status }) => createdBy === `key:${NAME}` && status === 'valid')
    })
    process.stderr.write(`API key ${NAME} is revoked\n`)
    for (const { name, role } of made)
      process.stderr.write(`API key ${name} (${role}) was made with it and is still valid\n`)
  },
})

export const apiKeyCommands = defineGroup({
  name: 'api-key',
  plural: 'api-keys',
  summary: 'Credentials of people and programs, each with a role',
  commands: [create, ls, revoke],
})

export const whoamiCommand = defineCommand({
  name: 'whoami',
  summary: 'Show who the gateway takes you for, and in which role',
  options: { output: outputOption, ...connectionOptions },
  async run({ options }) {
    const me = await withGateway(options, (client) => client.whoami())
    if (options.output === 'json') return printJson(me)
    process.stdout.write(`${plainText(me.actor)}, role ${me.role}, ${ending(me, new Date())}\n`)
  },
})

/** A token that nobody holds must not stay good. */
async function saveOr(file: string, token: string, undo: () => Promise<unknown>): Promise<void> {
  try {
    if (!createPrivateFile(file, `${token}\n`)) throw fileExists(file)
  } catch (error) {
    await undo()
    throw error
  }
}

const fileExists = (file: string): UserError =>
  new UserError({
    code: 'E_FILE_EXISTS',
    message: `${file} is there already`,
    why: 'it may hold a token that is still in use',
    fix: 'name another file, or remove it first',
    exitCode: EXIT.conflict,
  })

const keyTable = (keys: readonly ApiKeyItem[], now: Date): string =>
  table(keys, [
    { header: 'NAME', value: ({ name }) => name },
    { header: 'ROLE', value: ({ role }) => role },
    { header: 'STATUS', value: ({ status }) => status },
    { header: 'CREATED', value: ({ createdAt }) => ago(new Date(createdAt), now) },
    { header: 'BY', value: ({ createdBy }) => createdBy },
    {
      header: 'EXPIRES',
      value: ({ expiresAt }) => (expiresAt === null ? 'never' : ago(new Date(expiresAt), now)),
    },
  ])

const ending = ({ expiresAt }: { readonly expiresAt: string | null }, now: Date): string =>
  expiresAt === null ? 'without an end' : `expires ${ago(new Date(expiresAt), now)}`

const RULES: Readonly<Record<string, string>> = {
  name: 'NAME is 1 to 63 of a-z 0-9 . _ -, and starts and ends with a letter or digit',
  ttlMs: `--ttl is from 1s to ${MAX_API_KEY_TTL_MS / 86_400_000}d`,
}

const ruleOf = ({ path }: { readonly path: readonly PropertyKey[] }): string =>
  RULES[String(path[0])] ?? 'a flag is wrong'
