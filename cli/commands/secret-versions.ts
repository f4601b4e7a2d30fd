/** `claw secret rm|undelete|destroy|purge`: the end of versions, and of a secret. */
import { defineCommand } from '../../host/command-line.ts'
import { confirm, confirmByName, yesOption } from '../../host/confirm.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { printJson } from '../../host/output.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { parseSecretName } from '../secrets/names.ts'
import { parseNumber } from '../secrets/options.ts'
import { SealMemory } from '../secrets/seal-memory.ts'

const versionOption = {
  type: 'string',
  value: 'N',
  multiple: true,
  help: 'that version; may be given several times',
} as const

export const rm = defineCommand({
  name: 'rm',
  summary: 'Delete the newest version of a secret, in a way that can be undone',
  details:
    'Nobody can read the secret then: an older version does not take its place. `claw secret purge` removes all of it.',
  positionals: ['NAME'],
  options: { output: outputOption, ...connectionOptions },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    const secret = await withGateway(options, (client) => client.changeSecretVersions(name, 'delete', []))
    if (options.output === 'json') return printJson(secret)
    process.stderr.write(
      `version ${secret.version} of secret ${name} is deleted; \`claw secret undelete ${name} --version ${secret.version}\` brings it back\n`,
    )
  },
})

export const undelete = defineCommand({
  name: 'undelete',
  summary: 'Bring deleted versions back',
  positionals: ['NAME'],
  options: { version: versionOption, output: outputOption, ...connectionOptions },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    const versions = parseVersions(options.version)
    const secret = await withGateway(options, (client) =>
      client.changeSecretVersions(name, 'undelete', versions),
    )
    if (options.output === 'json') return printJson(secret)
    process.stderr.write(`${nameVersions(versions)} of secret ${name} can be read again\n`)
  },
})

export const destroy = defineCommand({
  name: 'destroy',
  summary: 'Destroy the values of versions for good; their numbers stay taken',
  positionals: ['NAME'],
  options: { version: versionOption, yes: yesOption, output: outputOption, ...connectionOptions },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    const versions = parseVersions(options.version)
    await confirm({
      consequence: `this destroys ${nameVersions(versions)} of secret ${name} for good`,
      answer: name,
      refused: 'nothing was destroyed',
      yes: options.yes,
    })
    const secret = await withGateway(options, (client) =>
      client.changeSecretVersions(name, 'destroy', versions),
    )
    if (options.output === 'json') return printJson(secret)
    process.stderr.write(`${nameVersions(versions)} of secret ${name} is destroyed\n`)
  },
})

export const purge = defineCommand({
  name: 'purge',
  summary: 'Remove a secret with every version, its policy and its settings',
  positionals: ['NAME'],
  options: { yes: yesOption, ...connectionOptions },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    await confirmByName('the secret', name, options.yes)
    await withGateway(options, async (client) => {
      await client.purgeSecret(name)
      new SealMemory(client.origin).forget(name)
    })
    process.stderr.write(`secret ${name} is removed, with every version\n`)
  },
})

function parseVersions(texts: readonly string[]): number[] {
  if (texts.length === 0) throw usageError('--version is missing', 'claw secret show NAME lists the versions')
  return [...new Set(texts.map((text) => parseNumber('--version', text)))].sort((a, b) => a - b)
}

const nameVersions = (versions: readonly number[]): string =>
  `${versions.length === 1 ? 'version' : 'versions'} ${versions.join(', ')}`
