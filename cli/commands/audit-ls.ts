/** `claw audit ls|show|tail`: reading the trail. */
import { setTimeout as wait } from 'node:timers/promises'
import { defineCommand } from '../../host/command-line.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { fields, printJson, printJsonList } from '../../host/output.ts'
import { plainJson } from '../../host/plain-text.ts'
import type { AuditItem } from '../../protocol/audit.ts'
import { entryLine, entryTable } from '../audit/entry-table.ts'
import { filterOptions, readFilter } from '../audit/filter-options.ts'
import { auditTrail } from '../audit/trail.ts'
import { connectionOptions, withGateway } from '../connection.ts'

const POLL_MS = 2_000
/** An index that no log reaches: only where it ends is asked. */
const BEYOND_ALL = 999_999_999_999_999

export const ls = defineCommand({
  name: 'ls',
  summary: 'List the newest entries, newest first',
  options: {
    limit: { type: 'string', value: 'N', default: '50', help: 'how many' },
    ...filterOptions,
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options }) {
    const [limit, filter] = [readCount('--limit', options.limit), readFilter(options)]
    const entries = await withGateway(options, (client) => client.audit(limit, filter))
    if (options.output === 'json') return printJsonList('AuditList', entries)
    process.stdout.write(entryTable(entries))
  },
})

export const show = defineCommand({
  name: 'show',
  summary: 'Show one entry, proven to be in the log that the gateway has signed',
  positionals: ['index'],
  options: { output: outputOption, ...connectionOptions },
  async run({ options, positionals }) {
    const index = readIndex(positionals.index)
    const entry = await withGateway(options, (client) => auditTrail(client).log.verifiedEntry(index))
    if (options.output === 'json') return printJson(entry)
    process.stdout.write(fields(propertiesOf(entry)))
  },
})

export const tail = defineCommand({
  name: 'tail',
  summary: 'Show the newest entries, oldest first, and go on with what comes',
  details: `It asks every two seconds. Its own reading is recorded, once in ten minutes; so it does not keep itself awake.`,
  options: {
    lines: {
      type: 'string',
      short: 'n',
      value: 'N',
      default: '10',
      help: 'how many of those that are there',
    },
    once: { type: 'boolean', help: 'do not wait for more' },
    ...filterOptions,
    output: { ...outputOption, help: 'table, or json: one object a line' },
    ...connectionOptions,
  },
  async run({ options }) {
    const [lines, filter] = [readCount('--lines', options.lines), readFilter(options)]
    const print = (entries: readonly AuditItem[]): void => {
      for (const entry of entries)
        process.stdout.write(`${options.output === 'json' ? plainJson(entry) : entryLine(entry)}\n`)
    }
    await withGateway(options, async (client) => {
      let { position: from = 0 } = await client.auditFrom(BEYOND_ALL)
      const newest = await client.audit(lines, filter)
      print(newest.filter(({ seq }) => seq < from).toReversed())
      while (options.once !== true) {
        const { items, position } = await client.auditFrom(from, filter)
        print(items)
        const isBehind = position !== undefined && items.length > 0
        from = position ?? from
        if (!isBehind) await wait(POLL_MS)
      }
    })
  },
})

const propertiesOf = ({ detail = {}, ...entry }: AuditItem): [string, string][] => [
  ['index', String(entry.seq)],
  ['time', entry.at],
  ['actor', entry.actor],
  ['action', entry.action],
  ['target', entry.target],
  ['outcome', entry.outcome],
  ['reason', entry.reason],
  ['request', entry.requestId],
  ...Object.entries(detail).map(([name, value]): [string, string] => [`  ${name}`, String(value)]),
]

function readCount(flag: string, text: string): number {
  if (!/^[1-9][0-9]{0,6}$/.test(text)) throw usageError(`${flag} is a positive number`)
  return Number(text)
}

function readIndex(text: string): number {
  if (!/^(0|[1-9][0-9]{0,14})$/.test(text)) throw usageError(`${text} is no index of an entry`)
  return Number(text)
}
