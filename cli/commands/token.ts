/** `claw token`: join tokens, with which machines enter the fleet. */
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { parseDuration } from '../../host/duration.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { ago, printJson, printJsonList, table } from '../../host/output.ts'
import { TokenCreateBody, type TokenItem } from '../../protocol/http.ts'
import { MAX_TAGS, MAX_TOKEN_TTL_MS, MAX_TOKEN_USES } from '../../protocol/limits.ts'
import { connectionOptions, withGateway } from '../connection.ts'

const create = defineCommand({
  name: 'create',
  summary: 'Make a join token',
  details: 'The token alone goes to standard output: claw token create > join.token',
  options: {
    tag: { type: 'string', value: 'TAG', multiple: true, help: 'given to every node that joins with it' },
    ttl: { type: 'string', value: 'SPAN', default: '10m', help: 'how long it is valid: 30s, 10m, 2h, 7d' },
    uses: { type: 'string', value: 'N', default: '1', help: 'how many machines may join with it' },
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options }) {
    const uses = /^[0-9]+$/.test(options.uses) ? Number(options.uses) : Number.NaN
    const body = TokenCreateBody.safeParse({ tags: options.tag, ttlMs: parseDuration(options.ttl), uses })
    if (!body.success) throw usageError(body.error.issues.map(ruleOf).join('; '), 'claw token create --help')
    const created = await withGateway(options, (client) => client.createToken(body.data))
    if (options.output === 'json') return printJson(created)
    process.stdout.write(`${created.token}\n`)
    process.stderr.write(
      `join token ${created.id}, expires ${ago(new Date(created.expiresAt), new Date())}\n`,
    )
  },
})

const ls = defineCommand({
  name: 'ls',
  summary: 'List join tokens',
  options: { output: outputOption, ...connectionOptions },
  async run({ options }) {
    const tokens = await withGateway(options, (client) => client.tokens())
    if (options.output === 'json') return printJsonList('TokenList', tokens)
    process.stdout.write(tokenTable(tokens, new Date()))
  },
})

const revoke = defineCommand({
  name: 'revoke',
  summary: 'Make a join token useless; nodes that joined with it stay',
  positionals: ['ID'],
  options: connectionOptions,
  async run({ options, positionals }) {
    await withGateway(options, (client) => client.revokeToken(positionals.ID))
    process.stderr.write(`join token ${positionals.ID} is revoked\n`)
  },
})

export const tokenCommands = defineGroup({
  name: 'token',
  plural: 'tokens',
  summary: 'Join tokens, with which machines enter the fleet',
  commands: [create, ls, revoke],
})

const tokenTable = (tokens: readonly TokenItem[], now: Date): string =>
  table(tokens, [
    { header: 'ID', value: ({ id }) => id },
    { header: 'STATUS', value: ({ status }) => status },
    { header: 'USED', value: ({ used, uses }) => `${used}/${uses}` },
    { header: 'TAGS', value: ({ tags }) => tags.join(',') },
    { header: 'CREATED', value: ({ createdAt }) => ago(new Date(createdAt), now) },
    { header: 'EXPIRES', value: ({ expiresAt }) => ago(new Date(expiresAt), now) },
  ])

const RULES: Readonly<Record<string, string>> = {
  tags: `--tag is 1 to 63 of a-z 0-9 _ . : -, at most ${MAX_TAGS} times`,
  ttlMs: `--ttl is from 1s to ${MAX_TOKEN_TTL_MS / 86_400_000}d`,
  uses: `--uses is a whole number from 1 to ${MAX_TOKEN_USES}`,
}

const ruleOf = ({ path }: { readonly path: readonly PropertyKey[] }): string =>
  RULES[String(path[0])] ?? 'a flag is wrong'
