/** `claw secret import`: many values at once, from `.env` or JSON. */
import { buffer } from 'node:stream/consumers'
import { defineCommand } from '../../host/command-line.ts'
import { outputOption } from '../../host/options.ts'
import { printJsonList, table } from '../../host/output.ts'
import { EXIT } from '../../host/user-error.ts'
import type { SecretClass, SecretItem } from '../../protocol/secrets.ts'
import type { AdminClient } from '../admin-client.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { recipientProof } from '../secrets/audit-proof.ts'
import { readImport } from '../secrets/import-file.ts'
import { type PlannedImport, planImport } from '../secrets/import-plan.ts'
import { readInputFile } from '../secrets/input.ts'
import { parseFolder } from '../secrets/names.ts'
import { parseReaders, readersOptions, type SealingFlags, sealingOptions } from '../secrets/options.ts'
import { prepareWrite, type WriteOptions } from '../secrets/write-secret.ts'

export const importCommand = defineCommand({
  name: 'import',
  summary: 'Write the secrets of a .env or JSON file',
  details: `DATABASE_URL becomes database_url, below --prefix if one is given; nested objects of JSON become folders. A value that is there
already is left alone unless --overwrite says otherwise, and the command then ends with ${EXIT.conflict}. --dry-run only shows what would happen.
FILE may be - for standard input.`,
  positionals: ['FILE'],
  options: {
    format: {
      type: 'string',
      value: 'FORMAT',
      choices: ['env', 'json'],
      help: 'env or json (by the name of the file: json if it ends so, else env)',
    },
    prefix: { type: 'string', value: 'FOLDER', help: 'the folder they are put into, such as app/' },
    'dry-run': { type: 'boolean', help: 'write nothing' },
    overwrite: { type: 'boolean', help: 'replace values that differ' },
    ...readersOptions,
    sealed: { type: 'boolean', help: 'make those that are new sealed ones' },
    managed: {
      type: 'boolean',
      help: 'make those that are new managed ones, though you have sealed them before',
    },
    ...sealingOptions,
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals: { FILE } }) {
    const folder = parseFolder(options.prefix)
    const readers = parseReaders(options)
    const format = options.format ?? (FILE.endsWith('.json') ? 'json' : 'env')
    const content = FILE === '-' ? await buffer(process.stdin) : readInputFile(FILE)
    const { secrets, notes } = readImport(content, format, folder)
    for (const note of notes) process.stderr.write(`${note}\n`)
    const as = options.sealed ? 'sealed' : options.managed ? 'managed' : undefined
    const planned = await withGateway(options, async (client) => {
      const planned = await planImport(client, secrets, options)
      if (!options['dry-run']) await carryOut(client, planned, { readers, as }, options)
      return planned
    })
    for (const { value } of planned) value.wipe()
    if (options.output === 'json')
      printJsonList(
        'SecretImport',
        planned.map(({ key, name, action }) => ({ key, name, action })),
      )
    else process.stdout.write(planTable(planned))
    return planned.some(({ action }) => action === 'differs') ? EXIT.conflict : EXIT.ok
  },
})

async function carryOut(
  client: AdminClient,
  planned: readonly PlannedImport[],
  options: Pick<WriteOptions, 'readers' | 'as'>,
  flags: SealingFlags,
): Promise<void> {
  const proof = recipientProof(client)
  let done = 0
  try {
    for (const { name, value, action, current } of planned) {
      if (action === 'unchanged' || action === 'differs') continue
      // Only on what the plan has seen: somebody else's write meanwhile is not overwritten.
      const write = { ...options, as: ownWord(options.as, current), cas: current?.version ?? 0 }
      await (await prepareWrite(client, proof, name, current, write, flags)).write(value)
      done++
    }
  } catch (error) {
    process.stderr.write(
      `${done} of them were written before this went wrong; the same command goes on from there\n`,
    )
    throw error
  }
}

/** Of what is there the flags say nothing, and what the gateway calls it is not its owner's word: the value would be sent in clear on that. */
const ownWord = (as: SecretClass | undefined, current: SecretItem | undefined): SecretClass | undefined =>
  current === undefined || current.class === as ? as : undefined

const WORDS = {
  create: 'create',
  update: 'update',
  unchanged: 'unchanged',
  differs: 'differs, kept (--overwrite replaces it)',
} as const

const planTable = (planned: readonly PlannedImport[]): string =>
  table(planned, [
    { header: 'FROM', value: ({ key }) => key },
    { header: 'SECRET', value: ({ name, altered }) => (altered ? `${name} (renamed)` : name) },
    { header: 'ACTION', value: ({ action }) => WORDS[action] },
  ])
