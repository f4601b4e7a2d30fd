/** `clawnode status`: how this node is, from the running agent, or from disk if none runs. */
import { defineCommand } from '../../host/command-line.ts'
import { outputOption } from '../../host/options.ts'
import { ago, printJson, table } from '../../host/output.ts'
import { EXIT } from '../../host/user-error.ts'
import { loadNodeConfig } from '../config/node-config.ts'
import { type AgentStatus, askAgent } from '../local-status.ts'
import { type NodeState, readNodeState } from '../node-state.ts'
import { configFlags, configOptions } from './configuration.ts'

export const statusCommand = defineCommand({
  name: 'status',
  summary: 'show whether this node is connected, and its peers',
  details: 'Exits with 0 if the node is connected to its gateway, else with 3.',
  options: { output: outputOption, ...configOptions },
  run: async ({ options }) => {
    const { directory } = loadNodeConfig(configFlags(options))
    const state = readNodeState(directory)
    const status = (await askAgent(directory)) ?? stopped(state)
    if (options.output === 'json') printJson(status)
    else process.stdout.write(describe(status, new Date()))
    return status.session === 'connected' ? EXIT.ok : EXIT.degraded
  },
})

const stopped = ({ node, gateway }: NodeState): AgentStatus => ({
  id: node.id,
  name: node.name,
  session: 'stopped',
  since: null,
  problem: null,
  gateway: gateway.url,
  ipv4: node.ipv4,
  ipv6: node.ipv6,
  audit: null,
  interface: null,
  mesh: null,
  peers: [],
})

function describe(status: AgentStatus, now: Date): string {
  const since = status.since === null ? '' : ` since ${ago(new Date(status.since), now)}`
  const rows = [
    ['name', status.name],
    ['id', status.id],
    ['session', `${status.session}${since}`],
    ...problemRows(status),
    ['gateway', status.gateway],
    ['addresses', `${status.ipv4}, ${status.ipv6}`],
    ['interface', describeInterface(status)],
    ['names', describeNames(status)],
    ...routeRows(status),
    ...auditRows(status, now),
  ] as const
  const facts = rows.map(([name = '', value = '']) => `${name.padEnd(12)}${value}\n`).join('')
  return status.peers.length === 0 ? facts : `${facts}\n${peerTable(status.peers, now)}`
}

function problemRows({ problem }: AgentStatus): [string, string][] {
  if (problem === null) return []
  const what: [string, string] = ['problem', `${problem.message} (${problem.code})`]
  return problem.fix === null ? [what] : [what, ['fix', problem.fix]]
}

function routeRows({ mesh }: AgentStatus): [string, string][] {
  return (mesh?.routes ?? []).map(({ network, by, problem }) => {
    const where = by === null ? 'behind this node' : `behind ${by}`
    return ['route', `${network} ${where}${problem === null ? '' : `, not in use: ${problem}`}`]
  })
}

function auditRows({ audit }: AgentStatus, now: Date): [string, string][] {
  if (audit === null || (audit.entries === null && audit.problem === null)) return []
  if (audit.problem !== null) return [['audit', `${audit.problem.message} (${audit.problem.code})`]]
  const seen = audit.at === null ? '' : `, seen ${ago(new Date(audit.at), now)}`
  return [['audit', `a trail of ${audit.entries} entries${seen}`]]
}

function describeInterface({ interface: name, mesh }: AgentStatus): string {
  if (mesh === null) return 'none'
  if (name === null) return `none: ${mesh.problem}`
  return mesh.problem === null ? `${name} (${mesh.backend})` : `${name}: ${mesh.problem}`
}

const RESOLVERS: Readonly<Record<string, string>> = { resolved: 'systemd-resolved', hosts: '/etc/hosts' }

function describeNames({ name, mesh }: AgentStatus): string {
  const names = mesh?.names ?? null
  if (names === null) return 'none'
  const { domain, by, problem } = names
  const why = problem === null ? '' : `: ${problem}`
  if (domain === null || by === null) return `not on this machine${why}`
  return `${name}.${domain}, by ${RESOLVERS[by] ?? by}${why}`
}

const peerTable = (peers: AgentStatus['peers'], now: Date): string =>
  `${peersAsTable(peers, now)}${peers.map(pathHint).join('')}`

const pathHint = ({ name, path, reason, hint }: AgentStatus['peers'][number]): string =>
  reason === null ? '' : `${name}: ${path === 'relay' ? 'relayed' : 'no path'}: ${hint} (${reason})\n`

const peersAsTable = (peers: AgentStatus['peers'], now: Date): string =>
  table(peers, [
    { header: 'PEER', value: ({ name }) => name },
    { header: 'IPV4', value: ({ ipv4 }) => ipv4 },
    { header: 'IPV6', value: ({ ipv6 }) => ipv6 },
    { header: 'ENDPOINT', value: ({ endpoint }) => endpoint ?? '-' },
    { header: 'PATH', value: ({ path }) => path },
    { header: 'LATENCY', value: ({ latencyMs }) => (latencyMs === null ? '-' : `${latencyMs} ms`) },
    {
      header: 'HANDSHAKE',
      value: ({ lastHandshake }) => (lastHandshake === null ? 'never' : ago(new Date(lastHandshake), now)),
    },
    { header: 'RX', value: ({ rxBytes }) => String(rxBytes) },
    { header: 'TX', value: ({ txBytes }) => String(txBytes) },
  ])
