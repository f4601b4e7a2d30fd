/**
 * The nftables rules by which one socket serves every relayed peer. WireGuard has a loopback port as the endpoint of each; what it sends there comes
 * to the socket as if from that port, and what the socket sends there comes to WireGuard as if from that port. A disguised peer's packets come as
 * if from where it is reached directly, so that WireGuard, which answers to where it last heard from, does not go back to the relay. Pure.
 */
import { isIPv6 } from 'node:net'
import type { Endpoint } from '../../../protocol/ids.ts'

/** The loopback ports that stand for peers. None of them is ever bound. */
export const PEER_PORTS = { first: 20_000, last: 60_000 } as const

/**
 * Injected to `local`, the address that this machine would use towards `as`, and not to loopback: WireGuard keeps the address and interface on
 * which it last heard a peer and answers from there, and what leaves from loopback never gets to anybody.
 */
export interface Disguise {
  readonly as: Endpoint
  readonly local: string
}

export interface LoopbackRules {
  readonly table: string
  readonly wireguardPort: number
  readonly socket4: number
  /** Undefined where this machine has no IPv6. */
  readonly socket6: number | undefined
  /** By loopback port. */
  readonly disguises: ReadonlyMap<number, Disguise>
}

/** What `nft -f` takes: puts the whole table in place of the one before, or nothing. */
export function renderRules(rules: LoopbackRules): string {
  const { table, wireguardPort: wireguard, socket4, socket6, disguises } = rules
  const range = `${PEER_PORTS.first}-${PEER_PORTS.last}`
  const lines = [
    // Other programs of this machine have no business at the sockets; WireGuard's packets are readdressed only below.
    `ip daddr 127.0.0.1 udp dport ${socket4} drop`,
    ...(socket6 === undefined ? [] : [`ip6 daddr ::1 udp dport ${socket6} drop`]),
    `ip daddr 127.0.0.1 udp sport ${wireguard} udp dport ${range} notrack udp sport set udp dport udp dport set ${socket4} accept`,
    ...[...disguises].flatMap(([port, disguise]) => disguiseRule(rules, port, disguise)),
    `ip daddr 127.0.0.1 udp sport ${socket4} udp dport ${range} notrack udp sport set udp dport udp dport set ${wireguard} accept`,
  ]
  return `${removeRules(table)}table inet ${table} {
  chain output {
    type filter hook output priority raw; policy accept;
${lines.map((line) => `    ${line}\n`).join('')}  }
}
`
}

/** Also where there is none. */
export const removeRules = (table: string): string => `add table inet ${table}\ndelete table inet ${table}\n`

function disguiseRule(
  { wireguardPort, socket4, socket6 }: LoopbackRules,
  port: number,
  { as, local }: Disguise,
): string[] {
  const from = splitEndpoint(as)
  const [family, socket] = isIPv6(from.address) ? (['ip6', socket6] as const) : (['ip', socket4] as const)
  if (socket === undefined) return []
  return [
    `${family} daddr ${local} udp sport ${socket} udp dport ${port} notrack ${family} saddr set ${from.address} udp sport set ${from.port} udp dport set ${wireguardPort} accept`,
  ]
}

export function splitEndpoint(endpoint: Endpoint): { readonly address: string; readonly port: number } {
  const colon = endpoint.lastIndexOf(':')
  return {
    address: endpoint.slice(0, colon).replace(/^\[|\]$/g, ''),
    port: Number(endpoint.slice(colon + 1)),
  }
}
