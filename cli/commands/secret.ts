/** `claw secret`: values that nodes may read. */
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { outputOption } from '../../host/options.ts'
import { ago, printJson, printJsonList, table } from '../../host/output.ts'
import type { SecretItem } from '../../protocol/secrets.ts'
import { confirmByName, yesOption } from '../confirm.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { checkSecretName, readSecret, readValue } from '../secret-value.ts'

const set = defineCommand({
  name: 'set',
  summary: 'Write a secret from a file or from standard input, byte for byte',
  details: `A value is never an argument, because arguments can be read by every user of the machine:
  printf %s "$VALUE" | claw secret set NAME
Without --allow-tag and --allow-node a new secret is readable by no node, and an existing one keeps its readers.`,
  positionals: ['NAME'],
  options: {
    file: { type: 'string', value: 'FILE', help: 'read the value from there instead of standard input' },
    'allow-tag': { type: 'string', value: 'TAG', multiple: true, help: 'nodes with this tag may read it' },
    'allow-node': { type: 'string', value: 'NODE', multiple: true, help: 'this node may read it' },
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals: { NAME } }) {
    checkSecretName(NAME)
    const value = await readValue(options.file)
    const policy = { allowTags: options['allow-tag'], allowNodes: options['allow-node'] }
    const written = await withGateway(options, (client) => client.putSecret(NAME, value, policy))
    if (options.output === 'json') return printJson(written)
    process.stderr.write(`secret ${NAME} is at version ${written.version}, readable by ${readers(written)}\n`)
  },
})

const get = defineCommand({
  name: 'get',
  summary: 'Print a secret, byte for byte',
  positionals: ['NAME'],
  options: {
    output: { ...outputOption, default: 'raw', choices: ['raw', 'json'], help: 'raw bytes, or json' },
    ...connectionOptions,
  },
  async run({ options, positionals: { NAME } }) {
    checkSecretName(NAME)
    const { value, version } = await withGateway(options, (client) => readSecret(client, NAME))
    using held = value
    const bytes = held.expose()
    if (options.output === 'json') return printJson({ name: NAME, version, ...asText(bytes) })
    process.stdout.write(new Uint8Array(bytes))
    if (process.stdout.isTTY) process.stdout.write('\n')
  },
})

const ls = defineCommand({
  name: 'ls',
  summary: 'List the secrets, without their values',
  options: { output: outputOption, ...connectionOptions },
  async run({ options }) {
    const secrets = await withGateway(options, (client) => client.secrets())
    if (options.output === 'json') return printJsonList('SecretList', secrets)
    process.stdout.write(secretTable(secrets, new Date()))
  },
})

const rm = defineCommand({
  name: 'rm',
  summary: 'Remove a secret',
  positionals: ['NAME'],
  options: { yes: yesOption, ...connectionOptions },
  async run({ options, positionals: { NAME } }) {
    checkSecretName(NAME)
    await confirmByName('the secret', NAME, options.yes)
    await withGateway(options, (client) => client.removeSecret(NAME))
    process.stderr.write(`secret ${NAME} is removed\n`)
  },
})

export const secretCommands = defineGroup({
  name: 'secret',
  plural: 'secrets',
  summary: 'Values that nodes may read',
  commands: [set, get, ls, rm],
})

const secretTable = (secrets: readonly SecretItem[], now: Date): string =>
  table(secrets, [
    { header: 'NAME', value: ({ name }) => name },
    { header: 'VERSION', value: ({ version }) => String(version) },
    { header: 'READERS', value: readers },
    { header: 'UPDATED', value: ({ updatedAt }) => ago(new Date(updatedAt), now) },
  ])

function readers({ policy }: SecretItem): string {
  const allowing = policy.rules.filter(({ effect }) => effect === 'allow')
  const all = allowing.flatMap(({ tags, nodes }) => [
    ...tags.map((tag) => `tag ${tag}`),
    ...nodes.map((node) => `node ${node}`),
  ])
  return all.length === 0 ? 'no node' : all.join(', ')
}

function asText(bytes: Uint8Array): { value: string } | { valueBase64: string } {
  try {
    return { value: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) }
  } catch {
    return { valueBase64: Buffer.from(bytes).toString('base64') }
  }
}
