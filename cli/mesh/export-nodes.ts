/**
 * To which nodes an exported device connects, and where they are. The gateway does not know where nodes are, so those that are connected are
 * asked; what an owner knows better is named with --endpoint.
 */
import { inParallel } from '../../host/in-parallel.ts'
import { usageError } from '../../host/options.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { NodeItem } from '../../protocol/http.ts'
import { NodeName } from '../../protocol/ids.ts'
import type { AdminClient } from '../admin-client.ts'
import { askReport } from './ask.ts'
import type { ExportedNode } from './wg-quick.ts'

/** Each keeps a tunnel of the device alive. */
const MAX_NODES = 16
const WIDTH = 8

interface Wanted {
  /** Names; all nodes of the mesh if there are none. */
  readonly via: readonly string[]
  /** `NODE=HOST:PORT` */
  readonly endpoints: readonly string[]
}

interface Found {
  readonly nodes: readonly ExportedNode[]
  /** Names of nodes that the device will not reach, and why not. */
  readonly leftOut: readonly { readonly name: NodeName; readonly why: string }[]
}

type Client = Pick<AdminClient, 'nodes' | 'meshReport'>

/** @throws UserError if there is none, or more than a device should have. */
export async function findExportNodes(client: Client, { via, endpoints }: Wanted): Promise<Found> {
  const known = parseEndpoints(endpoints)
  const all = (await client.nodes()).filter(({ mesh, status }) => mesh && status !== 'quarantined')
  const named = new Set<string>([...via, ...known.keys()])
  for (const name of named) if (!all.some((node) => node.name === name)) throw noSuchNode(name)
  const wanted = via.length > 0 ? all.filter(({ name }) => named.has(name)) : all
  // More could not be exported, and a fleet of thousands is not to be asked for nothing.
  if (wanted.length > MAX_NODES && via.length === 0) throw tooMany(wanted.length)
  const nodes: ExportedNode[] = []
  const leftOut: { name: NodeName; why: string }[] = []
  await inParallel(wanted, WIDTH, async (node) => {
    const found = known.get(node.name) ?? (await openEndpointOf(client, node))
    if (typeof found === 'string') nodes.push(exported(node, found))
    else leftOut.push({ name: node.name, why: found.why })
  })
  if (nodes.length > MAX_NODES) throw tooMany(nodes.length)
  if (nodes.length === 0) throw noneOpen(leftOut)
  const byName = <T extends { readonly name: string }>(items: T[]): T[] =>
    items.sort((a, b) => (a.name < b.name ? -1 : 1))
  return { nodes: byName(nodes), leftOut: byName(leftOut) }
}

async function openEndpointOf(client: Client, node: NodeItem): Promise<string | { why: string }> {
  if (node.status === 'offline') return { why: 'it is offline, and cannot be asked where it is' }
  try {
    const [first] = (await askReport(client, node.name)).open
    return first ?? { why: 'it knows of no endpoint at which anybody reaches it' }
  } catch (error) {
    if (error instanceof UserError) return { why: error.message }
    throw error
  }
}

const exported = ({ name, keys, ipv4, ipv6 }: NodeItem, endpoint: string): ExportedNode => ({
  name,
  wg: keys.wireguard,
  ipv4,
  ipv6,
  endpoint,
})

/** A name, an IPv4 address or an IPv6 address in brackets, and a port. It goes into a configuration that is read line by line. */
const ENDPOINT = /^(?:[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})$/

function parseEndpoints(texts: readonly string[]): Map<string, string> {
  const found = new Map<string, string>()
  for (const text of texts) {
    const [name = '', endpoint = ''] = text.split('=', 2)
    const port = Number(ENDPOINT.exec(endpoint)?.[2])
    if (!NodeName.safeParse(name).success || !(port >= 1 && port <= 65_535))
      throw usageError('--endpoint takes NODE=HOST:PORT', '--endpoint gpu-1=gpu-1.example.com:51820')
    found.set(name, endpoint)
  }
  return found
}

const noSuchNode = (name: string): UserError =>
  new UserError({
    code: 'E_NODE_NOT_FOUND',
    message: `there is no node ${name} in the mesh`,
    fix: 'claw mesh status',
    exitCode: EXIT.notFound,
  })

const tooMany = (count: number): UserError =>
  new UserError({
    code: 'E_EXPORT_TOO_MANY',
    message: `${count} nodes are more than a device without an agent should connect to (${MAX_NODES})`,
    fix: 'name those it needs, each with --via NODE',
    exitCode: EXIT.usage,
  })

const noneOpen = (leftOut: Found['leftOut']): UserError =>
  new UserError({
    code: 'E_EXPORT_NO_ENDPOINT',
    message: 'no node is known to be reachable from outside',
    why: leftOut
      .slice(0, 3)
      .map(({ name, why }) => `${name}: ${why}`)
      .join('; '),
    fix: 'name an endpoint that leads to one with --endpoint NODE=HOST:PORT',
    exitCode: EXIT.unavailable,
  })
