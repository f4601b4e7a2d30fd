/** `claw mesh status`: which node has which map, and how well it reaches the others. */
import { defineCommand } from '../../host/command-line.ts'
import { outputOption } from '../../host/options.ts'
import { ago, printJson, table } from '../../host/output.ts'
import type { MeshStatusItem } from '../../protocol/mesh-http.ts'
import { MeshPath } from '../../protocol/mesh-report.ts'
import { connectionOptions, withGateway } from '../connection.ts'

export const status = defineCommand({
  name: 'status',
  summary:
    'Who is up to date with the mesh, who lags and by how much, and by which paths they reach their peers',
  details: `BEHIND is how many changes of the mesh a node has not yet applied, and for how long. MAP says whether what it has applied
is what the gateway means; a node whose map is wrong is sent all of it, and the audit trail has an entry mesh.diverged.`,
  options: {
    lagging: {
      type: 'boolean',
      help: 'only nodes that are behind, away, wrong or do not reach all their peers',
    },
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options }) {
    const { head, items } = await withGateway(options, (client) => client.meshStatus())
    const shown = options.lagging ? items.filter(wantsLook) : items
    if (options.output === 'json')
      return printJson({ apiVersion: 'claw/v1', kind: 'MeshStatusList', head, items: shown })
    process.stdout.write(statusTable(shown, new Date()))
    process.stderr.write(
      `${items.length} nodes in the mesh, ${items.filter(isCurrent).length} of them up to date\n`,
    )
  },
})

const isCurrent = ({ behind, hash }: MeshStatusItem): boolean => behind?.entries === 0 && hash === 'ok'

const wantsLook = (item: MeshStatusItem): boolean =>
  item.status !== 'online' || !isCurrent(item) || item.reachable !== item.peers

const statusTable = (items: readonly MeshStatusItem[], now: Date): string =>
  table(items, [
    { header: 'NAME', value: ({ name }) => name },
    { header: 'STATUS', value: ({ status }) => status },
    { header: 'BEHIND', value: (item) => behindText(item, now) },
    { header: 'MAP', value: ({ hash }) => (hash === 'unknown' ? '-' : hash) },
    {
      header: 'REACHES',
      value: ({ peers, reachable }) => (peers === null ? '-' : `${reachable} of ${peers}`),
    },
    { header: 'PATHS', value: pathsText },
  ])

function behindText({ at, behind }: MeshStatusItem, now: Date): string {
  if (at === null) return '-'
  if (behind === null) return 'another log'
  if (behind.entries === 0) return 'no'
  const since = behind.since === null ? '' : `, ${ago(new Date(behind.since), now).replace(' ago', '')}`
  return `${behind.entries}${since}`
}

function pathsText({ summary }: MeshStatusItem): string {
  const parts = MeshPath.options.flatMap((path) => {
    const count = summary?.paths[path]
    return count === undefined || count === 0 ? [] : [`${count} ${path}`]
  })
  return parts.join(', ') || '-'
}
