/** `claw secret reseal`: sealed secrets for the nodes that may read them now. Opened and sealed again here, never by the gateway. */

import { ageRecipientStanzas } from '../../host/age.ts'
import { defineCommand } from '../../host/command-line.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { printJsonList, table } from '../../host/output.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { SecretName } from '../../protocol/ids.ts'
import type { AdminClient } from '../admin-client.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { recipientProof } from '../secrets/audit-proof.ts'
import { lagsOf } from '../secrets/lag.ts'
import { parseSecretName } from '../secrets/names.ts'
import { NO_READERS, type SealingFlags, sealingOptions } from '../secrets/options.ts'
import { fetchSecret, openSealed } from '../secrets/read-secret.ts'
import { Sealer } from '../secrets/sealer.ts'

interface Resealed {
  readonly name: SecretName
  readonly version: number
  readonly added: readonly string[]
  /** Ids of nodes. */
  readonly dropped: readonly string[]
}

export const reseal = defineCommand({
  name: 'reseal',
  summary: 'Seal a sealed secret again, for the nodes that may read it now',
  details: `Needed when a node has joined that may read it, or when one may no longer. It is the same value and version. A node that is
dropped may have kept what it could read: \`claw secret rotate\` makes that worthless.`,
  optional: ['NAME'],
  options: {
    all: { type: 'boolean', help: 'every sealed secret that lags behind its policy' },
    'dry-run': { type: 'boolean', help: 'only show what would change' },
    'drop-others': { type: 'boolean', help: 'also drop age keys of people that are not named again' },
    ...sealingOptions,
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals: { NAME } }) {
    if ((NAME === undefined) !== options.all) throw usageError('name one secret, or --all')
    const only = NAME === undefined ? undefined : parseSecretName(NAME)
    const resealed = await withGateway(options, async (client) => {
      const names = only === undefined ? await sealedNames(client) : [only]
      const done: Resealed[] = []
      for (const name of names) done.push(...(await resealOne(client, name, options)))
      return done
    })
    if (options.output === 'json') return printJsonList('SecretReseal', resealed)
    if (resealed.length === 0) process.stderr.write('nothing lags\n')
    else process.stdout.write(resealTable(resealed))
  },
})

interface ResealFlags extends SealingFlags {
  readonly 'dry-run': boolean
  readonly 'drop-others': boolean
}

async function resealOne(client: AdminClient, name: SecretName, flags: ResealFlags): Promise<Resealed[]> {
  const secret = await client.secret(name)
  if (secret.class !== 'sealed') throw usageError(`${name} is a managed secret: there is nothing to seal`)
  const readers = await client.secretRecipients(name, NO_READERS)
  const lags = lagsOf(secret, readers, new Date())
  const plan = lags.map(({ version, missing, surplus }) => ({
    name,
    version,
    added: missing.map((node) => node.name),
    dropped: surplus,
  }))
  if (flags['dry-run'] || lags.length === 0) return plan

  const sealer = await Sealer.prepare(
    client,
    recipientProof(client),
    name,
    { readers: NO_READERS, before: secret },
    flags,
  )
  const proven = new Map(sealer.nodes.map((node) => [node.id, node]))
  for (const { version, wanted } of lags) {
    // By the proven list: between the two questions the gateway could have exchanged a key.
    const nodes = wanted.flatMap(({ id }) => proven.get(id) ?? [])
    const stored = secret.versions.find((one) => one.version === version)
    const { value: file } = await fetchSecret(client, name, { version, purpose: 'reseal' })
    using held = file
    const others = (ageRecipientStanzas(held.expose()) ?? 0) - (stored?.recipients.length ?? 0)
    if (others > sealer.owners.length && !flags['drop-others'])
      throw wouldDrop(name, others - sealer.owners.length)
    using value = await openSealed(name, held.expose(), flags.identity)
    await client.putSealedSecret(name, { ...(await sealer.seal(value, nodes)), reseal: version })
  }
  sealer.remember()
  return plan
}

async function sealedNames(client: AdminClient): Promise<SecretName[]> {
  const items = await client.secrets()
  return items.filter((item) => item.class === 'sealed').map(({ name }) => name)
}

const resealTable = (resealed: readonly Resealed[]): string =>
  table(resealed, [
    { header: 'SECRET', value: ({ name }) => name },
    { header: 'VERSION', value: ({ version }) => String(version) },
    { header: 'ADDED', value: ({ added }) => added.join(', ') || '-' },
    { header: 'DROPPED', value: ({ dropped }) => dropped.join(', ') || '-' },
  ])

const wouldDrop = (name: SecretName, count: number): UserError =>
  new UserError({
    code: 'E_RECIPIENT_LOST',
    message: `secret ${name} is sealed to ${count} more age ${count === 1 ? 'key' : 'keys'} of people than are named now`,
    why: 'age files do not say whose keys those are',
    fix: 'name them with --recipient, or add --drop-others',
    exitCode: EXIT.conflict,
  })
