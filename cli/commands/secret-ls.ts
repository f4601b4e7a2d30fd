/** `claw secret ls` and `claw secret show`: what there is, without the values. */
import { defineCommand } from '../../host/command-line.ts'
import { outputOption } from '../../host/options.ts'
import { ago, printJson, printJsonList, table } from '../../host/output.ts'
import { UserError } from '../../host/user-error.ts'
import type { SecretName } from '../../protocol/ids.ts'
import type { SecretDetail, SecretItem } from '../../protocol/secrets.ts'
import type { AdminClient, SecretRecipient } from '../admin-client.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { detailText, dueText, readersText, versionTable, versionText } from '../secrets/describe.ts'
import { type Lag, lagsOf, lagText } from '../secrets/lag.ts'
import { isIn, parseFolder, parseSecretName } from '../secrets/names.ts'
import { NO_READERS } from '../secrets/options.ts'

export const ls = defineCommand({
  name: 'ls',
  summary: 'List the secrets of a folder, without their values',
  details: `Folders end in /, with the number of secrets in them. --all lists what is in them as well, as --due and -o json always do.
A sealed secret that lags behind its policy is named with what is wrong; \`claw secret reseal\` mends it.`,
  optional: ['PREFIX'],
  options: {
    all: { type: 'boolean', short: 'a', help: 'folders and all' },
    due: { type: 'boolean', help: 'only those whose value is due for rotation' },
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals }) {
    const folder = parseFolder(positionals.PREFIX)
    const { items, lags } = await withGateway(options, async (client) => {
      const found = await client.secrets({ prefix: folder, due: options.due })
      const items = found.filter(({ name }) => isIn(folder, name))
      const flat = options.all || options.due || options.output === 'json'
      const shown = flat ? items : items.filter(({ name }) => childOf(folder, name) === name)
      return { items, lags: await lagsOfAll(client, shown) }
    })
    if (options.output === 'json')
      return printJsonList(
        'SecretList',
        items.map((item) => ({ ...item, ...jsonLag(lags.get(item.name)) })),
      )
    const now = new Date()
    process.stdout.write(
      options.all || options.due
        ? secretTable(items.map(secretRow), lags, now)
        : secretTable(folderRows(folder, items), lags, now),
    )
  },
})

export const show = defineCommand({
  name: 'show',
  summary: 'Show what a secret is beside its value: settings, policy, versions, and who may read it',
  positionals: ['NAME'],
  options: { output: outputOption, ...connectionOptions },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    const { secret, readers } = await withGateway(options, async (client) => {
      const secret = await client.secret(name)
      return { secret, readers: await readersOf(client, name) }
    })
    const now = new Date()
    const lags = readers === undefined ? [] : lagsOf(secret, readers, now)
    if (options.output === 'json')
      return printJson({ ...secret, readers: readers?.map((node) => node.name), ...jsonLag(lags) })
    process.stdout.write(detailText(secret, [['nodes now', nodesText(readers)], ...lagFields(secret, lags)]))
    process.stdout.write(`\n${versionTable(secret, now)}`)
  },
})

interface Row {
  readonly name: string
  /** Undefined for a folder. */
  readonly secret?: SecretItem
  readonly count?: number
}

const secretRow = (secret: SecretItem): Row => ({ name: secret.name, secret })

/** What of a name is seen from the folder: the name itself, or the folder it is in. */
function childOf(folder: SecretName | undefined, name: string): string {
  const start = folder === undefined || name === folder ? 0 : folder.length + 1
  const end = name.indexOf('/', start)
  return name === folder || end < 0 ? name : name.slice(0, end + 1)
}

function folderRows(folder: SecretName | undefined, items: readonly SecretItem[]): Row[] {
  const rows = new Map<string, Row>()
  for (const secret of items) {
    const name = childOf(folder, secret.name)
    rows.set(
      name,
      name === secret.name ? secretRow(secret) : { name, count: (rows.get(name)?.count ?? 0) + 1 },
    )
  }
  return [...rows.values()]
}

function secretTable(rows: readonly Row[], lags: ReadonlyMap<string, readonly Lag[]>, now: Date): string {
  const of = (value: (secret: SecretItem) => string) => (row: Row) => (row.secret ? value(row.secret) : '')
  const due = of((secret) => dueText(secret, now))
  const lag = of(({ name }) => lagText(lags.get(name) ?? []))
  return table(rows, [
    { header: 'NAME', value: ({ name }) => name },
    { header: 'VERSION', value: (row) => (row.secret ? versionText(row.secret) : `${row.count} secrets`) },
    { header: 'CLASS', value: of((secret) => secret.class) },
    { header: 'READERS', value: of(readersText) },
    { header: 'UPDATED', value: of(({ updatedAt }) => ago(new Date(updatedAt), now)) },
    // Only where there is one to tell of: a column that is always empty is noise.
    ...(rows.some((row) => due(row) !== '') ? [{ header: 'ROTATION', value: due }] : []),
    ...(rows.some((row) => lag(row) !== '') ? [{ header: 'LAG', value: lag }] : []),
  ])
}

/** Of the sealed ones, if the asker may know: each is a question of its own to the gateway, because only that knows who may read. */
async function lagsOfAll(client: AdminClient, items: readonly SecretItem[]): Promise<Map<string, Lag[]>> {
  const lags = new Map<string, Lag[]>()
  for (const { name } of items.filter((item) => item.class === 'sealed')) {
    const readers = await readersOf(client, name)
    if (readers === undefined) break
    lags.set(name, lagsOf(await client.secret(name), readers, new Date()))
  }
  return lags
}

/** Undefined for whoever may not know. */
async function readersOf(client: AdminClient, name: SecretName): Promise<SecretRecipient[] | undefined> {
  try {
    return await client.secretRecipients(name, NO_READERS)
  } catch (error) {
    if (error instanceof UserError && error.code === 'E_ROLE_DENIED') return undefined
    throw error
  }
}

function nodesText(readers: readonly SecretRecipient[] | undefined): string {
  if (readers === undefined) return 'only administrators are told'
  return readers.map(({ name }) => name).join(', ') || 'none'
}

function lagFields({ versions }: SecretDetail, lags: readonly Lag[]): [string, string][] {
  if (lags.length === 0)
    return versions.some(({ recipients }) => recipients.length > 0) ? [['lag', 'none']] : []
  return lags.map((lag) => [`lag of ${lag.version}`, lagText([lag])])
}

const jsonLag = (lags: readonly Lag[] | undefined) =>
  lags !== undefined && {
    lag: lags.map(({ version, missing, surplus }) => ({
      version,
      missing: missing.map(({ name }) => name),
      surplus,
    })),
  }
