/** `claw node`: the machines of the fleet. */
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { confirmByName, yesOption } from '../../host/confirm.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { ago, fields, printJson, printJsonList, table } from '../../host/output.ts'
import { type NodeItem, QuarantineBody } from '../../protocol/http.ts'
import { Ipv4 } from '../../protocol/ids.ts'
import { MAX_TAGS } from '../../protocol/limits.ts'
import { type NodeRoutes, RouteChange } from '../../protocol/node-routes.ts'
import { TagChange } from '../../protocol/node-tags.ts'
import { connectionOptions, withGateway } from '../connection.ts'

const ls = defineCommand({
  name: 'ls',
  summary: 'List the nodes',
  options: { output: outputOption, ...connectionOptions },
  async run({ options }) {
    const nodes = await withGateway(options, (client) => client.nodes())
    if (options.output === 'json') return printJsonList('NodeList', nodes)
    process.stdout.write(nodeTable(nodes, new Date()))
  },
})

const show = defineCommand({
  name: 'show',
  summary: 'Show one node',
  positionals: ['NAME'],
  options: { output: outputOption, ...connectionOptions },
  async run({ options, positionals }) {
    const node = await withGateway(options, (client) => client.node(positionals.NAME))
    if (options.output === 'json') return printJson(node)
    process.stdout.write(describe(node, new Date()))
  },
})

const tag = defineCommand({
  name: 'tag',
  summary: 'Give a node tags with +TAG, and take tags away with -TAG',
  details: `For instance: claw node tag gpu-7 +training -staging. Policies of secrets know nodes by their tags; a tag that is taken away
ends what it allowed with the next request. With --set the node has the tags so named and no others.`,
  positionals: ['NAME'],
  words: { name: '[+TAG | -TAG]...', pattern: /^[+-][a-z0-9][a-z0-9_.:-]*$/ },
  options: {
    set: { type: 'string', value: 'TAG', multiple: true, help: 'this tag instead of those there are' },
    ...connectionOptions,
  },
  async run({ options, positionals: { NAME }, words }) {
    const change = tagChange(words, options.set)
    const { tags } = await withGateway(options, (client) => client.tagNode(NAME, change))
    process.stderr.write(
      `node ${NAME} has ${tags.length === 0 ? 'no tags' : `the tags ${tags.join(', ')}`}\n`,
    )
  },
})

const routes = defineCommand({
  name: 'routes',
  summary: 'Show the networks behind a node, approve them, or withdraw them',
  details: `A node offers networks by its setting \`routes\`. Once approved, every node that may reach this one reaches them through it; what
the policy says of them counts there. No two nodes can be the way to one network.`,
  positionals: ['NAME'],
  options: {
    approve: { type: 'string', value: 'CIDR', multiple: true, help: 'from now on routed to the node' },
    withdraw: { type: 'string', value: 'CIDR', multiple: true, help: 'no longer' },
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals: { NAME } }) {
    const { approve, withdraw } = options
    const isChange = approve.length + withdraw.length > 0
    const change = RouteChange.safeParse({ approve, withdraw })
    if (isChange && !change.success)
      throw usageError('each network is like 192.168.7.0/24, and either approved or withdrawn')
    const found = await withGateway(options, (client) =>
      change.success ? client.changeNodeRoutes(NAME, change.data) : client.nodeRoutes(NAME),
    )
    if (options.output === 'json') return printJson(found)
    process.stdout.write(routeTable(found))
  },
})

const ip = defineCommand({
  name: 'ip',
  summary: 'Give a node a fixed IPv4 address of the fleet',
  details: `The node takes it at once, or when it is next here; its connections by the old address end. An address that another node has
given up rests for a day first.`,
  positionals: ['NAME', 'ADDRESS'],
  options: connectionOptions,
  async run({ options, positionals: { NAME, ADDRESS } }) {
    const address = Ipv4.safeParse(ADDRESS)
    if (!address.success) throw usageError(`${ADDRESS} is not an IPv4 address`)
    await withGateway(options, (client) => client.setNodeAddress(NAME, address.data))
    process.stderr.write(`node ${NAME} has the address ${address.data}\n`)
  },
})

const rm = defineCommand({
  name: 'rm',
  summary: 'Remove a node from the fleet; it can only come back with a new identity',
  positionals: ['NAME'],
  options: { yes: yesOption, ...connectionOptions },
  async run({ options, positionals: { NAME } }) {
    await confirmByName('the node', NAME, options.yes)
    await withGateway(options, (client) => client.removeNode(NAME))
    process.stderr.write(`node ${NAME} is removed\n`)
  },
})

const quarantine = defineCommand({
  name: 'quarantine',
  summary: 'Hold a node: no session, no secrets, no peers, until it is released',
  positionals: ['NAME'],
  options: {
    reason: { type: 'string', value: 'TEXT', default: 'by its owner', help: 'for the audit trail' },
    ...connectionOptions,
  },
  async run({ options, positionals: { NAME } }) {
    const body = QuarantineBody.safeParse({ reason: options.reason })
    if (!body.success) throw usageError(`--reason: ${body.error.issues[0]?.message ?? 'not a reason'}`)
    await withGateway(options, (client) => client.quarantineNode(NAME, body.data))
    process.stderr.write(`node ${NAME} is in quarantine\n`)
  },
})

const release = defineCommand({
  name: 'release',
  summary: 'Let a node out of quarantine',
  details: `A node whose disk was copied is held together with its copy. Stop the copy first, and remove its state directory:
the gateway would hold both again.`,
  positionals: ['NAME'],
  options: connectionOptions,
  async run({ options, positionals: { NAME } }) {
    await withGateway(options, (client) => client.releaseNode(NAME))
    process.stderr.write(
      `node ${NAME} is released; it tries again within ten minutes, or when it is restarted\n`,
    )
  },
})

const rotateIdentity = defineCommand({
  name: 'rotate-identity',
  summary: 'Have a node replace the key that it signs with; it stays who it is',
  details: 'A node that is offline is asked when it is next here, within a day.',
  positionals: ['NAME'],
  options: connectionOptions,
  async run({ options, positionals: { NAME } }) {
    await withGateway(options, (client) => client.rotateNodeIdentity(NAME))
    process.stderr.write(`node ${NAME} is asked for a new identity key\n`)
  },
})

const rotateWireguard = defineCommand({
  name: 'rotate-wireguard',
  summary: 'Have a node change its WireGuard key; its traffic goes on meanwhile',
  details:
    'Nodes do so by themselves every 30 days. A node that is offline is asked when it is next here, within a day.',
  positionals: ['NAME'],
  options: connectionOptions,
  async run({ options, positionals: { NAME } }) {
    await withGateway(options, (client) => client.rotateNodeWireguard(NAME))
    process.stderr.write(`node ${NAME} is asked for another WireGuard key\n`)
  },
})

export const nodeCommands = defineGroup({
  name: 'node',
  plural: 'nodes',
  summary: 'The machines of the fleet',
  commands: [ls, show, tag, routes, ip, rm, quarantine, release, rotateIdentity, rotateWireguard],
})

function tagChange(words: readonly string[], set: readonly string[]): TagChange {
  if (words.length + set.length === 0) throw usageError('no tag is named', 'claw node tag NAME +TAG -TAG')
  if (words.length > 0 && set.length > 0) throw usageError('--set leaves nothing for +TAG and -TAG to change')
  const signed = (sign: string) => words.filter((word) => word[0] === sign).map((word) => word.slice(1))
  const change = TagChange.safeParse(set.length > 0 ? set : { add: signed('+'), remove: signed('-') })
  if (change.success) return change.data
  throw usageError(
    `each tag is 1 to 63 of a-z 0-9 _ . : -, at most ${MAX_TAGS}, and either given or taken away`,
  )
}

const routeTable = ({ offered, approved }: NodeRoutes): string =>
  table([...new Set([...offered, ...approved])].sort(), [
    { header: 'NETWORK', value: (network) => network },
    { header: 'OFFERED', value: (network) => (offered.includes(network) ? 'yes' : 'no') },
    { header: 'APPROVED', value: (network) => (approved.includes(network) ? 'yes' : 'no') },
  ])

const nodeTable = (nodes: readonly NodeItem[], now: Date): string =>
  table(nodes, [
    { header: 'NAME', value: ({ name }) => name },
    { header: 'STATUS', value: ({ status }) => status },
    { header: 'IPV4', value: ({ ipv4 }) => ipv4 },
    { header: 'IPV6', value: ({ ipv6 }) => ipv6 },
    { header: 'TAGS', value: ({ tags }) => tags.join(',') },
    { header: 'LAST SEEN', value: ({ lastSeen }) => lastSeenText(lastSeen, now) },
    // Only where there is one to tell of: a column that is always empty is noise.
    ...(nodes.some(({ quarantine }) => quarantine !== undefined)
      ? [{ header: 'QUARANTINE', value: ({ quarantine = '' }: NodeItem) => quarantine }]
      : []),
  ])

const describe = (node: NodeItem, now: Date): string =>
  fields([
    ['name', node.name],
    ['id', node.id],
    ['status', node.status],
    ...(node.quarantine === undefined ? [] : [['quarantine', node.quarantine] as const]),
    ['last seen', lastSeenText(node.lastSeen, now)],
    ['joined', ago(new Date(node.createdAt), now)],
    ['addresses', `${node.ipv4} ${node.ipv6}`],
    ['mesh', node.mesh ? 'yes' : 'no'],
    ['tags', node.tags.join(',') || '-'],
    ['agent', node.agent],
    ['identity key', node.keys.identity],
    ['wireguard key', node.keys.wireguard],
    ['sealing key', node.keys.sealing],
    ...healthOf(node),
  ])

function healthOf({ telemetry }: NodeItem): [string, string][] {
  if (telemetry === undefined) return []
  const { load1, memoryTotalBytes, memoryFreeBytes, mesh } = telemetry
  const lines: [string, string][] = [
    ['load', load1.toFixed(2)],
    ['memory', `${gibibytes(memoryTotalBytes - memoryFreeBytes)} of ${gibibytes(memoryTotalBytes)} GiB used`],
  ]
  if (mesh !== undefined) lines.push(['peers', `${mesh.reachable} of ${mesh.peers} reachable`])
  return lines
}

const lastSeenText = (lastSeen: string | null, now: Date): string =>
  lastSeen === null ? 'never' : ago(new Date(lastSeen), now)

const gibibytes = (bytes: number): string => (bytes / 2 ** 30).toFixed(1)
