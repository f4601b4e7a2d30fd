/** `claw mesh policy`: who may reach whom, and where. */
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { confirm, yesOption } from '../../host/confirm.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { ago, printJson, printJsonList, table } from '../../host/output.ts'
import { plainLines, plainText } from '../../host/plain-text.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { MeshPolicyTestReply } from '../../protocol/mesh-policy-api.ts'
import { parsePortQuery } from '../../protocol/port-set.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { changesText, pairs } from '../mesh/policy-changes.ts'
import { policyError, readPolicyFile } from '../mesh/policy-file.ts'
import { parseNumber } from '../secrets/options.ts'

const get = defineCommand({
  name: 'get',
  summary: 'Print the policy as JSON, as `policy set` takes it',
  details: 'The version goes to standard error.',
  options: {
    version: { type: 'string', value: 'N', help: 'an older one, from `policy history`' },
    ...connectionOptions,
  },
  async run({ options }) {
    const wanted = options.version === undefined ? undefined : parseNumber('--version', options.version)
    const { version, policy } = await withGateway(options, (client) => client.meshPolicy(wanted))
    if (policy === null)
      throw new UserError({
        code: 'E_MESH_POLICY_NOT_FOUND',
        message: 'there is no policy: everything within the fleet is allowed',
        exitCode: EXIT.notFound,
      })
    process.stderr.write(`version ${version}\n`)
    printJson(policy)
  },
})

const set = defineCommand({
  name: 'set',
  summary: 'Replace the policy by the one in a JSON file',
  details: `  {"groups": {"trainers": ["tag:gpu", "node:alpha"]},
   "rules": [
     {"src": ["group:trainers"], "dst": ["tag:storage:2049", "node:db:5432"], "proto": "tcp"},
     {"src": ["tag:ops"], "dst": ["*:22", "10.1.0.0/24:443"], "note": "who mends things"},
     {"src": ["*"], "dst": ["*:*"], "proto": "icmp"}
   ],
   "tests": [{"from": "tag:gpu", "to": "node:db", "accept": ["tcp:5432"], "deny": ["tcp:22"]}]}
Whatever no rule allows is denied from then on. A document that fails its own tests is refused. What it takes away is shown, and asked about.
An older policy is put back with: claw mesh policy get --version N > FILE; claw mesh policy set FILE`,
  positionals: ['FILE'],
  options: { yes: yesOption, ...connectionOptions },
  async run({ options, positionals }) {
    const file = readPolicyFile(positionals.FILE)
    await withGateway(options, async (client) => {
      const tried = await client.testMeshPolicy(file.document)
      if (tried.problems.length > 0) throw policyError(file, tried.problems)
      process.stderr.write(plainLines(changesText(tried.changes)))
      await confirmLoss(tried, options.yes)
      // The version that the changes were worked out for: another policy that came in between is not overwritten.
      const { version } = await client.setMeshPolicy(file.document, tried.version)
      process.stderr.write(`the mesh policy is at version ${version}\n`)
    })
  },
})

async function confirmLoss({ changes }: MeshPolicyTestReply, yes: boolean): Promise<void> {
  if (changes?.losing === 0) return
  const what =
    changes === null
      ? 'this may cut nodes off from each other'
      : `this takes something from ${pairs(changes.losing)} of nodes, and everything from ${changes.cutOff}`
  const answer = changes === null ? 'set' : `set ${changes.losing}`
  await confirm({ consequence: what, answer, refused: 'the policy is as it was', yes })
}

const test = defineCommand({
  name: 'test',
  summary: 'Try a policy out: its problems, its tests, and what it would change',
  details: `Nothing is changed. Ends with ${EXIT.failure} if it would be refused.`,
  positionals: ['FILE'],
  options: { output: outputOption, ...connectionOptions },
  async run({ options, positionals }) {
    const file = readPolicyFile(positionals.FILE)
    const tried = await withGateway(options, (client) => client.testMeshPolicy(file.document))
    if (options.output === 'json') {
      printJson(tried)
      return tried.problems.length > 0 ? EXIT.failure : EXIT.ok
    }
    if (tried.problems.length > 0) throw policyError(file, tried.problems)
    const tests = tried.tests === 1 ? '1 test passes' : `${tried.tests} tests pass`
    process.stdout.write(`${tests}\n${plainLines(changesText(tried.changes))}`)
    return EXIT.ok
  },
})

const explain = defineCommand({
  name: 'explain',
  summary: 'Say whether one node may reach another, or a network, and which rule says so',
  details: `PORT is tcp:PORT, udp:PORT or icmp; a number alone is tcp. Ends with ${EXIT.denied} if it may not.`,
  positionals: ['FROM', 'TO'],
  optional: ['PORT'],
  options: { output: outputOption, ...connectionOptions },
  async run({ options, positionals: { FROM, TO, PORT } }) {
    const port = PORT !== undefined && /^[0-9]+$/.test(PORT) ? `tcp:${PORT}` : PORT
    if (port !== undefined && parsePortQuery(port) === undefined)
      throw usageError('PORT is tcp:PORT, udp:PORT or icmp')
    const { reply, rule } = await withGateway(options, async (client) => {
      const answer = await client.explainMesh({ from: FROM, to: TO, port })
      const { policy } = answer.rule === null ? { policy: null } : await client.meshPolicy(answer.version)
      return { reply: answer, rule: policy?.rules[answer.rule ?? -1] }
    })
    if (options.output === 'json') printJson(reply)
    else {
      const verdict = reply.allowed ? 'allowed' : 'denied'
      process.stdout.write(
        `${verdict}: ${FROM} -> ${TO}: ${plainText(reply.reason)}\n` +
          (rule === undefined ? '' : `  ${plainText(JSON.stringify(rule))}\n`) +
          `  open in all: ${plainText(reply.ports.join(' ')) || 'nothing'}\n`,
      )
    }
    return reply.allowed ? EXIT.ok : EXIT.denied
  },
})

const history = defineCommand({
  name: 'history',
  summary: 'List the versions that are kept, newest first',
  options: { output: outputOption, ...connectionOptions },
  async run({ options }) {
    const { items } = await withGateway(options, (client) => client.meshPolicyHistory())
    if (options.output === 'json') return printJsonList('MeshPolicyHistory', items)
    const now = new Date()
    process.stdout.write(
      table(items, [
        { header: 'VERSION', value: ({ version }) => String(version) },
        { header: 'SET', value: ({ at }) => ago(new Date(at), now) },
        { header: 'BY', value: ({ actor }) => actor },
        { header: 'RULES', value: ({ rules }) => String(rules) },
      ]),
    )
  },
})

export const meshPolicyCommands = defineGroup({
  name: 'policy',
  summary: 'Who may reach whom, and where',
  commands: [get, set, test, explain, history],
})
