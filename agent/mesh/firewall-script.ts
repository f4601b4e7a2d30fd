/**
 * What nftables is told of this node's rules: a table of our own, as text. Pure.
 *
 * A flow is judged by its first packet's addresses and port, as conntrack remembers them, and at every packet of it in either direction:
 * what the policy takes back ends also where it is in use. That a packet's source is the peer's own is WireGuard's part (allowed addresses
 * by key); that nobody beside the tunnel uses a fleet's address is said here.
 */
import type { Ipv4, Ipv6 } from '../../protocol/ids.ts'
import type { MeshPorts, MeshRule } from '../../protocol/mesh.ts'
import { MTU_PROBE_PORT } from './firewall-ports.ts'
import type { Devices } from './forwarding.ts'
import { familyOf, parseCidr } from './ip-ranges.ts'
import type { MeshRules } from './map.ts'

export interface FirewallPlan {
  readonly iface: string
  readonly ipv4: Ipv4
  readonly ipv6: Ipv6
  /** The fleet's ranges. */
  readonly fleet: readonly string[]
  readonly rules: MeshRules
  readonly peers: readonly FirewallPeer[]
  /** Networks behind this node that peers may reach through it. */
  readonly routes: readonly string[]
  /** Whether what goes there gets this machine's address, because nothing there knows the way to the mesh. */
  readonly masquerade: boolean
  /** Interfaces that forward only since we said so, and for answers only. */
  readonly opened: readonly Devices[]
}

interface FirewallPeer {
  readonly addresses: readonly string[]
  readonly class: number
}

export interface FirewallTable {
  readonly name: string
  /** Everything but who is in which class. */
  readonly body: string
  /** Chain by source address. */
  readonly sources: ReadonlyMap<string, string>
}

const tableName = (iface: string): string => `claw_${iface}_rules`

export function compileTable(plan: FirewallPlan): FirewallTable {
  const classes = new Map<number, MeshRule[]>()
  for (const rule of plan.rules ?? [])
    for (const one of new Set(rule.from)) classes.set(one, [...(classes.get(one) ?? []), rule])
  const body = [
    'counter denied { }',
    'map sources4 { type ipv4_addr : verdict; }',
    'map sources6 { type ipv6_addr : verdict; }',
    ...[...classes].flatMap(([number, rules]) => classChains(number, rules, plan)),
    ...errorChain,
    ...judgeChain(plan),
    ...spoofChain(plan),
    ...inputChain(plan),
    ...(plan.rules === null ? [] : outputChain(plan)),
    ...forwardChain(plan),
    ...masqueradeChain(plan),
  ].join('\n')
  const sources = plan.peers.flatMap(({ addresses, class: number }) =>
    classes.has(number) ? addresses.map((address) => [address, chainOf(number)] as const) : [],
  )
  return { name: tableName(plan.iface), body, sources: new Map(sources) }
}

/** In one transaction: at no moment is there no table. */
export const replaceScript = ({ name, body, sources }: FirewallTable): string =>
  [
    `table inet ${name} {}`,
    `delete table inet ${name}`,
    `table inet ${name} {\n${body}\n}`,
    ...elements('add', name, sources),
    '',
  ].join('\n')

/** From one table to another with the same body. Undefined if there is nothing to do. */
export function changeScript(before: FirewallTable, after: FirewallTable): string | undefined {
  const gone = [...before.sources].filter(([address, chain]) => after.sources.get(address) !== chain)
  const come = [...after.sources].filter(([address, chain]) => before.sources.get(address) !== chain)
  if (gone.length + come.length === 0) return undefined
  return [...elements('delete', after.name, gone), ...elements('add', after.name, come), ''].join('\n')
}

export const removeScript = (iface: string): string =>
  `table inet ${tableName(iface)} {}\ndelete table inet ${tableName(iface)}\n`

const chainOf = (number: number): string => `class_${number}`

function elements(command: 'add' | 'delete', table: string, sources: Iterable<readonly [string, string]>) {
  return (['ipv4', 'ipv6'] as const).flatMap((family) => {
    const entries = [...sources].filter(([address]) => familyOf(address) === family)
    if (entries.length === 0) return []
    const list = entries.map(([address, chain]) => `${address} : goto ${chain}`).join(', ')
    return [`${command} element inet ${table} sources${family === 'ipv4' ? 4 : 6} { ${list} }`]
  })
}

function classChains(number: number, rules: readonly MeshRule[], { ipv4, ipv6 }: FirewallPlan): string[] {
  const own = chain(
    `${chainOf(number)}_self`,
    rules.filter(({ to }) => to === undefined).flatMap(({ allow }) => allow.flatMap(accepts)),
  )
  const beyond = rules.flatMap(({ to = [], allow }) =>
    destinations(to).flatMap((where) => allow.flatMap(accepts).map((what) => `${where} ${what}`)),
  )
  const lines = [
    ...destinations([ipv4, ipv6]).map((self) => `${self} goto ${chainOf(number)}_self`),
    ...beyond,
  ]
  return [...own, ...chain(chainOf(number), lines)]
}

/** Of the first packet of the flow, whatever has been rewritten since. */
function destinations(networks: readonly string[]): string[] {
  return (['ipv4', 'ipv6'] as const).flatMap((family) => {
    const some = networks.filter((network) => familyOf(parseCidr(network).address) === family)
    return some.length === 0 ? [] : [`ct original ${family === 'ipv4' ? 'ip' : 'ip6'} daddr ${set(some)}`]
  })
}

function accepts({ proto, ports }: MeshPorts): string[] {
  if (proto === 'any') return ['accept']
  if (proto === 'icmp') return ['meta l4proto { icmp, ipv6-icmp } accept']
  const some = ports?.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`))
  return [`meta l4proto ${proto} ${some === undefined ? '' : `ct original proto-dst ${set(some)} `}accept`]
}

const errorChain = chain('errors', [
  'ct state related icmp type { destination-unreachable, time-exceeded, parameter-problem } accept',
  'ct state related icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept',
])

/** Accepts what is allowed; what comes back from here is not. */
function judgeChain({ ipv4, ipv6, rules, routes }: FirewallPlan): string[] {
  const [self, served] = [destinations([ipv4, ipv6]), destinations([ipv4, ipv6, ...routes])]
  // Without rules it need not matter whether conntrack looks.
  if (rules === null) {
    const untracked = self.map((here) => here.replace('ct original ', ''))
    return chain(
      'judge',
      [...untracked, ...served].map((here) => `${here} accept`),
    )
  }
  return chain('judge', [
    ...served.map((here) => here.replace(' daddr ', ' daddr != ')).map((elsewhere) => `${elsewhere} return`),
    // The agent's own question how large a packet may be; its answer is smaller than the question.
    ...self.map((here) => `${here} meta l4proto udp ct original proto-dst ${MTU_PROBE_PORT} accept`),
    'ct original ip saddr vmap @sources4',
    'ct original ip6 saddr vmap @sources6',
  ])
}

function spoofChain({ iface, fleet }: FirewallPlan): string[] {
  const outside = `iifname != { "${iface}", "lo" }`
  return chain('spoofed', [
    'type filter hook prerouting priority raw; policy accept;',
    ...fleet.map(
      (range) =>
        `${outside} ${familyOf(parseCidr(range).address) === 'ipv4' ? 'ip' : 'ip6'} saddr ${range} ${deny}`,
    ),
  ])
}

const deny = 'counter name denied drop'

/** An answer to what this node has begun is no question of rules. */
const inputChain = ({ iface }: FirewallPlan): string[] =>
  chain('input', [
    'type filter hook input priority filter; policy accept;',
    `iifname != "${iface}" accept`,
    'ct direction reply accept',
    'jump errors',
    'jump judge',
    deny,
  ])

/**
 * A flow that was allowed is judged also by what this node answers, or a stream would go on without its acknowledgements. A connection that
 * conntrack has forgotten, or never saw, would look as if this node had begun it: it is ended.
 */
const outputChain = ({ iface }: FirewallPlan): string[] =>
  chain('output', [
    'type filter hook output priority filter; policy accept;',
    `oifname != "${iface}" accept`,
    'ct state new meta l4proto tcp tcp flags & (syn | ack) != syn counter name denied reject with tcp reset',
    'ct direction original accept',
    'jump errors',
    'jump judge',
    deny,
  ])

function forwardChain({ iface, opened, rules }: FirewallPlan): string[] {
  const answersOnly = opened
    .filter(({ devices }) => devices.length > 0)
    .map(
      ({ family, devices }) =>
        `meta nfproto ${family} iifname ${names(devices)} ct direction original ${deny}`,
    )
  return [
    ...chain('from_mesh', ['ct direction reply accept', 'jump errors', 'jump judge', deny]),
    ...chain('to_mesh', [
      ...answersOnly,
      ...(rules === null ? [] : ['ct direction original accept', 'jump errors', 'jump judge', deny]),
    ]),
    ...chain('forward', [
      'type filter hook forward priority filter; policy accept;',
      `oifname "${iface}" tcp flags syn / syn,rst tcp option maxseg size set rt mtu`,
      `iifname "${iface}" tcp flags syn / syn,rst tcp option maxseg size set rt mtu`,
      `iifname "${iface}" goto from_mesh`,
      `oifname "${iface}" goto to_mesh`,
      ...answersOnly,
    ]),
  ]
}

function masqueradeChain({ iface, fleet, routes, masquerade }: FirewallPlan): string[] {
  if (!masquerade || routes.length === 0) return []
  const lines = (['ipv4', 'ipv6'] as const).flatMap((family) => {
    const of = (networks: readonly string[]) =>
      networks.filter((network) => familyOf(parseCidr(network).address) === family)
    if (of(routes).length === 0) return []
    const ip = family === 'ipv4' ? 'ip' : 'ip6'
    return [`oifname != "${iface}" ${ip} saddr ${set(of(fleet))} ${ip} daddr ${set(of(routes))} masquerade`]
  })
  return chain('postrouting', ['type nat hook postrouting priority srcnat; policy accept;', ...lines])
}

const set = (items: readonly string[]): string => `{ ${items.join(', ')} }`
const names = (interfaces: readonly string[]): string => set(interfaces.map((name) => `"${name}"`))

function chain(name: string, lines: readonly string[]): string[] {
  return [`chain ${name} {`, ...lines.map((line) => `  ${line}`), '}']
}
