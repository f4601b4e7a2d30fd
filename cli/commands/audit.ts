/** `claw audit`: who did what, and what was refused. */
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { printJsonList, table } from '../../host/output.ts'
import type { AuditItem } from '../../protocol/audit.ts'
import { connectionOptions, withGateway } from '../connection.ts'

const ls = defineCommand({
  name: 'ls',
  summary: 'List the newest entries, newest first',
  options: {
    limit: { type: 'string', value: 'N', default: '50', help: 'how many' },
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options }) {
    if (!/^[1-9][0-9]{0,6}$/.test(options.limit)) throw usageError('--limit is a positive number')
    const entries = await withGateway(options, (client) => client.audit(Number(options.limit)))
    if (options.output === 'json') return printJsonList('AuditList', entries)
    process.stdout.write(auditTable(entries))
  },
})

export const auditCommands = defineGroup({
  name: 'audit',
  summary: 'Who did what, and what was refused',
  commands: [ls],
})

const auditTable = (entries: readonly AuditItem[]): string =>
  table(entries, [
    { header: 'SEQ', value: ({ seq }) => String(seq) },
    { header: 'TIME', value: ({ at }) => at },
    { header: 'ACTOR', value: ({ actor }) => actor },
    { header: 'ACTION', value: ({ action }) => action },
    { header: 'TARGET', value: ({ target }) => target },
    { header: 'OUTCOME', value: ({ outcome }) => outcome },
    { header: 'REASON', value: ({ reason }) => reason },
  ])
