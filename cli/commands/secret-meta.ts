/** `claw secret meta`: the settings of a secret. The value and its version stay what they are. */
import { defineCommand } from '../../host/command-line.ts'
import { parseDuration } from '../../host/duration.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { printJson } from '../../host/output.ts'
import { SecretPatchBody, type SecretSettings } from '../../protocol/secrets.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { settingsText } from '../secrets/describe.ts'
import { parseSecretName } from '../secrets/names.ts'
import { parseNumber } from '../secrets/options.ts'

export const meta = defineCommand({
  name: 'meta',
  summary: 'Change how many versions are kept, how long they live, when they are due, and notes of your own',
  details: `What is not named stays as it is. \`never\` ends --delete-after and --rotate-every; --custom KEY= takes a note away.
--delete-after counts for versions that are written from now on.`,
  positionals: ['NAME'],
  options: {
    'max-versions': {
      type: 'string',
      value: 'N',
      help: 'older ones are destroyed by the write that passes it',
    },
    'delete-after': { type: 'string', value: 'SPAN', help: 'life of each new version: 12h, 90d, never' },
    'rotate-every': { type: 'string', value: 'SPAN', help: 'when a value counts as due: 30d, never' },
    'cas-required': { type: 'boolean', help: 'writes must name the version they replace' },
    'no-cas-required': { type: 'boolean', help: 'they need not' },
    custom: {
      type: 'string',
      value: 'KEY=VALUE',
      multiple: true,
      help: 'a note, shown to whoever may list it',
    },
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    if (options['cas-required'] && options['no-cas-required'])
      throw usageError('--cas-required and --no-cas-required exclude each other')
    const change = {
      ...(options['max-versions'] !== undefined && {
        maxVersions: parseNumber('--max-versions', options['max-versions']),
      }),
      ...(options['delete-after'] !== undefined && { deleteAfterMs: parseEnd(options['delete-after']) }),
      ...(options['rotate-every'] !== undefined && { rotateEveryMs: parseEnd(options['rotate-every']) }),
      ...((options['cas-required'] || options['no-cas-required']) && {
        casRequired: options['cas-required'],
      }),
    }
    const notes = options.custom.map(parseNote)
    if (Object.keys(change).length === 0 && notes.length === 0)
      throw usageError('no setting is named', 'claw secret meta --help lists them')
    checkChange(change)
    const secret = await withGateway(options, async (client) => {
      const custom = notes.length > 0 && { custom: merge((await client.secret(name)).settings.custom, notes) }
      const body = { ...change, ...custom }
      checkChange(body)
      return client.patchSecret(name, body)
    })
    if (options.output === 'json') return printJson(secret)
    process.stderr.write(`secret ${name}: ${settingsText(secret.settings)}\n`)
  },
})

const parseEnd = (text: string): number | null => (text === 'never' ? null : parseDuration(text))

interface Note {
  readonly key: string
  readonly value: string
}

function parseNote(text: string): Note {
  const at = text.indexOf('=')
  if (at < 1) throw usageError(`--custom ${text}: write it as KEY=VALUE, or KEY= to take it away`)
  return { key: text.slice(0, at), value: text.slice(at + 1) }
}

function merge(before: SecretSettings['custom'], notes: readonly Note[]): SecretSettings['custom'] {
  const merged = { ...before, ...Object.fromEntries(notes.map(({ key, value }) => [key, value])) }
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== ''))
}

const FLAGS: Readonly<Record<string, string>> = {
  maxVersions: '--max-versions',
  deleteAfterMs: '--delete-after',
  rotateEveryMs: '--rotate-every',
  custom: '--custom',
}

function checkChange(change: object): void {
  const parsed = SecretPatchBody.safeParse(change)
  if (parsed.success) return
  const [issue] = parsed.error.issues
  throw usageError(`${FLAGS[String(issue?.path[0])] ?? 'a flag'}: ${issue?.message}`)
}
