/** `claw secret policy|allow|deny|explain`: who may read a secret. */
import type * as z from 'zod'
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { parseDuration } from '../../host/duration.ts'
import { type OptionSpecs, outputOption, usageError } from '../../host/options.ts'
import { printJson } from '../../host/output.ts'
import { plainText } from '../../host/plain-text.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { parseJson } from '../../protocol/json.ts'
import { PolicyRule, SecretPolicy } from '../../protocol/secret-policy.ts'
import { type SecretDetail, SecretExplainBody } from '../../protocol/secrets.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { policyText, ruleText } from '../secrets/describe.ts'
import { readValue } from '../secrets/input.ts'
import { parseSecretName } from '../secrets/names.ts'

const get = defineCommand({
  name: 'get',
  summary: 'Print the policy as JSON, as `policy set` takes it',
  positionals: ['NAME'],
  options: connectionOptions,
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    printJson((await withGateway(options, (client) => client.secret(name))).policy)
  },
})

const setPolicy = defineCommand({
  name: 'set',
  summary: 'Replace the policy by one from a JSON file, or from standard input',
  details: `  {"rules": [
    {"effect": "allow", "tags": ["gpu"]},
    {"effect": "allow", "nodes": ["alpha"], "workloads": ["trainer"], "expires": "2027-01-01T00:00:00Z"},
    {"effect": "deny", "nodes": ["lab-3"]}
  ], "expires": null}
A rule that denies wins over every one that allows; without one that allows, nobody but administrators may read.`,
  positionals: ['NAME'],
  optional: ['FILE'],
  options: { output: outputOption, ...connectionOptions },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    using text = await readValue(positionals.FILE)
    const policy = parsePolicy(text.expose())
    const secret = await withGateway(options, (client) => client.patchSecret(name, { policy }))
    tell(secret, options.output)
  },
})

export const policyCommands = defineGroup({
  name: 'policy',
  summary: 'Who may read a secret, as a whole',
  commands: [get, setPolicy],
})

const ruleOptions = {
  tag: { type: 'string', value: 'TAG', multiple: true, help: 'nodes with this tag' },
  node: { type: 'string', value: 'NODE', multiple: true, help: 'this node' },
  workload: {
    type: 'string',
    value: 'JOB',
    multiple: true,
    help: 'only jobs of theirs that call themselves so',
  },
  role: { type: 'string', value: 'ROLE', multiple: true, help: 'people of this role: operator' },
  expires: { type: 'string', value: 'SPAN', help: 'for so long: 30s, 10m, 2h, 7d' },
  output: outputOption,
  ...connectionOptions,
} as const satisfies OptionSpecs

const addRule = (effect: 'allow' | 'deny', summary: string, details: string) =>
  defineCommand({
    name: effect,
    summary,
    details,
    positionals: ['NAME'],
    options: ruleOptions,
    async run({ options, positionals }) {
      const name = parseSecretName(positionals.NAME)
      const expires =
        options.expires === undefined
          ? null
          : new Date(Date.now() + parseDuration(options.expires)).toISOString()
      const rule = parseRule({
        effect,
        nodes: options.node,
        tags: options.tag,
        workloads: options.workload,
        roles: options.role,
        expires,
      })
      const secret = await withGateway(options, (client) => client.patchSecret(name, { rule }))
      tell(secret, options.output)
    },
  })

export const allow = addRule(
  'allow',
  'Add a rule that lets nodes, jobs or people read a secret',
  'Of --tag and --node any is enough; --workload narrows them. A node that is new to a sealed secret can open it after `claw secret reseal`.',
)
export const deny = addRule(
  'deny',
  'Add a rule that keeps nodes, jobs or people from a secret, whatever else allows them',
  'What they have read they have: `claw secret rotate` makes that worthless.',
)

export const explain = defineCommand({
  name: 'explain',
  summary: 'Say whether a node may read a secret, and why',
  details: `Ends with ${EXIT.denied} if it may not.`,
  positionals: ['NAME'],
  options: {
    node: { type: 'string', value: 'NODE', help: 'the node' },
    workload: { type: 'string', value: 'JOB', help: 'what its job calls itself' },
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    if (options.node === undefined)
      throw usageError('--node is missing', 'claw secret explain NAME --node NODE')
    const body = SecretExplainBody.safeParse({ node: options.node, workload: options.workload })
    if (!body.success) throw usageError(messageOf(body.error))
    const { reply, policy } = await withGateway(options, async (client) => ({
      reply: await client.explainSecret(name, body.data),
      policy: (await client.secret(name)).policy,
    }))
    if (options.output === 'json') printJson(reply)
    else {
      const rule = reply.rule === undefined ? undefined : policy.rules[reply.rule]
      const { tags } = reply.node
      process.stdout.write(
        `${reply.allowed ? 'allowed' : 'denied'}: node ${reply.node.name} ${reply.allowed ? 'may' : 'may not'} read ${name}: ${plainText(reply.reason)}\n` +
          (rule === undefined ? '' : `  rule ${reply.rule}: ${ruleText(rule, new Date())}\n`) +
          `  its tags: ${plainText(tags.join(', ')) || 'none'}\n` +
          (reply.code === undefined ? '' : `  it would be told ${plainText(reply.code)}\n`),
      )
    }
    return reply.allowed ? EXIT.ok : EXIT.denied
  },
})

function parseRule(input: unknown): PolicyRule {
  const rule = PolicyRule.safeParse(input)
  if (!rule.success) throw usageError(messageOf(rule.error))
  const { nodes, tags, workloads, roles } = rule.data
  if (nodes.length + tags.length + workloads.length + roles.length === 0)
    throw usageError('nobody is named', 'name readers with --tag, --node, --workload or --role')
  return rule.data
}

function parsePolicy(text: Uint8Array): SecretPolicy {
  const policy = SecretPolicy.safeParse(parseJson(text))
  if (policy.success) return policy.data
  throw new UserError({
    code: 'E_POLICY_FORM',
    message: 'this is not a policy',
    why: messageOf(policy.error),
    fix: 'start from what `claw secret policy get NAME` prints',
    exitCode: EXIT.usage,
  })
}

const messageOf = (error: z.ZodError): string =>
  error.issues
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`))
    .join('; ')

function tell(secret: SecretDetail, output: 'table' | 'json'): void {
  if (output === 'json') {
    printJson(secret)
    return
  }
  process.stderr.write(
    `secret ${secret.name}\n${policyText(secret.policy, new Date())
      .map((line) => `  ${line}\n`)
      .join('')}`,
  )
  if (secret.class === 'sealed')
    process.stderr.write(
      `it is sealed: \`claw secret reseal ${secret.name}\` lets new readers open it, and drops others\n`,
    )
}
