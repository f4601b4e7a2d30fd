/**
 * Where this node can be reached, and in which order another node's endpoints are worth trying. Pure.
 *
 * Plain direct endpoints only. What a STUN server or a port mapping tells of us will join `ownEndpoints` as further candidates.
 */
import { type BlockList, isIPv6 } from 'node:net'
import { Endpoint } from '../../protocol/ids.ts'
import { contains, familyOf, ranges } from './ip-ranges.ts'
import type { LocalAddress } from './local-addresses.ts'

/** As many as one sealed signal holds. */
const MAX_ENDPOINTS = 8

/** Networks within this machine: nobody outside reaches an address there, and every machine has the same ones. */
const INTERNAL_NAMES = /^(docker|br-|veth|cni|flannel|cali|virbr|lxc|lxd|podman|kube|cilium|weave)/
/** Tunnels: a mesh that runs within another one, or within itself, pays twice and breaks with it. */
const TUNNELS = ['wireguard', 'tun', 'vxlan', 'geneve', 'gre', 'ipip', 'sit', 'ip6tnl', 'vti', 'xfrm', 'ppp']
const NOBODYS = ranges(
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '::/127',
  'fe80::/10',
  'ff00::/8',
)
const PRIVATE = ranges('10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7')

interface Own {
  readonly iface: string
  readonly listenPort: number
  /** The fleet's own ranges. */
  readonly fleet: BlockList
  /** One the owner knows better, such as a forwarded port; it comes first. */
  readonly configured?: Endpoint | undefined
}

export function ownEndpoints(
  local: readonly LocalAddress[],
  { iface, listenPort, fleet, configured }: Own,
): Endpoint[] {
  const found = local
    .filter(
      ({ kind, ...at }) =>
        at.iface !== iface && !INTERNAL_NAMES.test(at.iface) && !TUNNELS.includes(kind ?? ''),
    )
    .filter(({ address }) => isReachable(address, fleet))
    .map(({ address }) => address)
  const endpoints = [...found.filter(isPublic), ...found.filter((address) => !isPublic(address))].map(
    (address) => format(address, listenPort),
  )
  return [...new Set([...(configured === undefined ? [] : [configured]), ...endpoints])].slice(
    0,
    MAX_ENDPOINTS,
  )
}

/** Same subnet first, then public, then private. What cannot be reached from here, or must not be, is left out. */
export function orderCandidates(
  candidates: readonly Endpoint[],
  local: readonly LocalAddress[],
  fleet: BlockList,
): Endpoint[] {
  const reachable = local.filter(({ address }) => isReachable(address, fleet))
  const families = new Set(reachable.map(({ address }) => familyOf(address)))
  const neighbours = ranges(...reachable)
  const rank = (address: string) => (contains(neighbours, address) ? 0 : isPublic(address) ? 1 : 2)
  const usable = candidates
    .map((endpoint) => split(endpoint))
    .filter(({ address }) => isReachable(address, fleet) && families.has(familyOf(address)))
    .map(({ address, port }) => ({ endpoint: format(address, port), rank: rank(address) }))
    .sort((a, b) => a.rank - b.rank)
  return [...new Set(usable.map(({ endpoint }) => endpoint))]
}

/** A peer that names an address of the mesh would send the tunnel through itself. */
const isReachable = (address: string, fleet: BlockList): boolean =>
  !contains(NOBODYS, address) && !contains(fleet, address)

const isPublic = (address: string): boolean => !contains(PRIVATE, address)

/** Those at which anybody reaches this node, who is not in its own network. */
export const openEndpoints = (own: readonly Endpoint[], configured: Endpoint | undefined): Endpoint[] =>
  own.filter((endpoint) => endpoint === configured || isPublic(split(endpoint).address))

function split(endpoint: Endpoint): { readonly address: string; readonly port: number } {
  const colon = endpoint.lastIndexOf(':')
  return {
    address: endpoint.slice(0, colon).replace(/^\[|\]$/g, ''),
    port: Number(endpoint.slice(colon + 1)),
  }
}

/** In the one form in which `wg` prints it, so that equal endpoints are equal text. */
const format = (address: string, port: number): Endpoint =>
  Endpoint.parse(isIPv6(address) ? `${canonicalIpv6(address)}:${port}` : `${address}:${port}`)

const canonicalIpv6 = (address: string): string => new URL(`http://[${address}]`).hostname
