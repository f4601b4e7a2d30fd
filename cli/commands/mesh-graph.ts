/** `claw mesh graph`: every pair of nodes, and how the two reach each other. */
import { defineCommand } from '../../host/command-line.ts'
import { inParallel } from '../../host/in-parallel.ts'
import { usageError } from '../../host/options.ts'
import { ago, printJson, table } from '../../host/output.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { NodeItem } from '../../protocol/http.ts'
import type { NodeId, NodeName } from '../../protocol/ids.ts'
import type { AdminClient } from '../admin-client.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { askReport } from '../mesh/ask.ts'
import { dotGraph, type Edge, edgesOf, worseEnds } from '../mesh/pairs.ts'

/** A picture of more is no picture, and each node is asked for all of its pairs. */
const MAX_NODES = 200
const WIDTH = 8

export const graph = defineCommand({
  name: 'graph',
  summary: 'Show every pair of nodes with its path, as the nodes themselves see it',
  details: `Asks each node that is connected, or those named with --node. What they answer says where they are: it is sealed to this
command, and the gateway cannot read it. -o dot is for Graphviz: claw mesh graph -o dot | dot -Tsvg > mesh.svg`,
  options: {
    node: {
      type: 'string',
      value: 'NAME',
      multiple: true,
      help: 'ask this node only; may be given several times',
    },
    output: {
      type: 'string',
      short: 'o',
      value: 'FORMAT',
      default: 'table',
      choices: ['table', 'json', 'dot'],
      help: 'table, json or dot',
    },
    ...connectionOptions,
  },
  async run({ options }) {
    const { edges, silent } = await withGateway(options, (client) => askAll(client, options.node))
    for (const { name, why } of silent) process.stderr.write(`${name} does not say: ${why}\n`)
    if (options.output === 'json') printJson({ apiVersion: 'claw/v1', kind: 'MeshGraph', edges, silent })
    else if (options.output === 'dot') process.stdout.write(dotGraph(edges))
    else process.stdout.write(pairTable(worseEnds(edges), new Date()))
    return silent.length > 0 ? EXIT.degraded : EXIT.ok
  },
})

interface Asked {
  readonly edges: Edge[]
  readonly silent: { readonly name: string; readonly why: string }[]
}

async function askAll(client: AdminClient, wanted: readonly string[]): Promise<Asked> {
  const all = (await client.nodes()).filter(({ mesh }) => mesh)
  const names = new Map<NodeId, NodeName>(all.map(({ id, name }) => [id, name]))
  for (const { id, name } of await client.meshPeers()) names.set(id, name)
  const asked = choose(all, wanted)
  const edges: Edge[] = []
  const silent: { name: string; why: string }[] = []
  await inParallel(asked, WIDTH, async ({ name }) => {
    try {
      edges.push(...edgesOf(name, (await askReport(client, name)).pairs, names))
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      silent.push({ name, why: error.message })
    }
  })
  return { edges, silent }
}

function choose(all: readonly NodeItem[], wanted: readonly string[]): NodeItem[] {
  const missing = wanted.find((name) => !all.some((node) => node.name === name))
  if (missing !== undefined) throw usageError(`there is no node ${missing} in the mesh`, 'claw mesh status')
  const chosen = all.filter(({ name, status }) =>
    wanted.length > 0 ? wanted.includes(name) : status === 'online' || status === 'suspect',
  )
  if (chosen.length > MAX_NODES)
    throw usageError(
      `${chosen.length} nodes are too many for one graph (${MAX_NODES})`,
      'name some with --node NAME',
    )
  return chosen
}

const pairTable = (edges: readonly Edge[], now: Date): string =>
  table(edges, [
    { header: 'FROM', value: ({ from }) => from },
    { header: 'TO', value: ({ to }) => to },
    { header: 'PATH', value: ({ path }) => path },
    { header: 'ENDPOINT', value: ({ endpoint }) => endpoint ?? '-' },
    {
      header: 'HANDSHAKE',
      value: ({ lastHandshake }) =>
        lastHandshake === null ? 'never' : ago(new Date(lastHandshake * 1000), now),
    },
    { header: 'LATENCY', value: ({ latencyMs }) => (latencyMs === undefined ? '-' : `${latencyMs} ms`) },
    { header: 'REASON', value: ({ reason, hint }) => [reason, hint].filter(Boolean).join(': ') },
  ])
