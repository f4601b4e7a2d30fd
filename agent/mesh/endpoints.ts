/** Where this node can be reached by its own knowledge, and which of another node's endpoints are worth trying, in which order. Pure. */
import type { BlockList } from 'node:net'
import { MAX_OWN_ENDPOINTS } from '../../crypto/signal.ts'
import type { Endpoint } from '../../protocol/ids.ts'
import { formatEndpoint, splitEndpoint } from './endpoint-form.ts'
import { contains, familyOf, ranges } from './ip-ranges.ts'
import type { LocalAddress } from './local-addresses.ts'

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

/** Those by which this machine is on networks with others. Containers come and go, and their bridges with them: nobody outside need hear of it. */
export const outsideAddresses = (
  local: readonly LocalAddress[],
  { iface, fleet }: Pick<Own, 'iface' | 'fleet'>,
): LocalAddress[] =>
  local.filter(
    ({ kind, address, ...at }) =>
      at.iface !== iface &&
      !INTERNAL_NAMES.test(at.iface) &&
      !TUNNELS.includes(kind ?? '') &&
      isReachable(address, fleet),
  )

export function ownEndpoints(
  local: readonly LocalAddress[],
  { listenPort, configured, ...own }: Own,
): Endpoint[] {
  const found = outsideAddresses(local, own).map(({ address }) => address)
  const endpoints = [...found.filter(isPublic), ...found.filter((address) => !isPublic(address))].map(
    (address) => formatEndpoint(address, listenPort),
  )
  return [...new Set([...(configured === undefined ? [] : [configured]), ...endpoints])].slice(
    0,
    MAX_OWN_ENDPOINTS,
  )
}

/** `lan`: on a network of ours, or one that only the owner can have; the others are somewhere on the Internet. */
export type Nearness = 'lan' | 'far'

export interface Candidate {
  readonly endpoint: Endpoint
  readonly nearness: Nearness
}

/** Same subnet first, then public, then private. What cannot be reached from here, or must not be, is left out. */
export function orderCandidates(
  candidates: readonly Endpoint[],
  local: readonly LocalAddress[],
  fleet: BlockList,
): Candidate[] {
  const reachable = local.filter(({ address }) => isReachable(address, fleet))
  const families = new Set(reachable.map(({ address }) => familyOf(address)))
  const neighbours = ranges(...reachable)
  const rank = (address: string) => (contains(neighbours, address) ? 0 : isPublic(address) ? 1 : 2)
  const usable = candidates
    .map((endpoint) => splitEndpoint(endpoint))
    .filter(({ address }) => isReachable(address, fleet) && families.has(familyOf(address)))
    .map(({ address, port }) => ({ endpoint: formatEndpoint(address, port), rank: rank(address) }))
    .sort((a, b) => a.rank - b.rank)
  const nearness = new Map(
    usable.map(({ endpoint, rank }) => [endpoint, rank === 1 ? 'far' : 'lan'] as const),
  )
  return [...nearness].map(([endpoint, value]) => ({ endpoint, nearness: value }))
}

/** A peer that names an address of the mesh would send the tunnel through itself. */
const isReachable = (address: string, fleet: BlockList): boolean =>
  !contains(NOBODYS, address) && !contains(fleet, address)

export const isPublic = (address: string): boolean => !contains(PRIVATE, address)

/** Those at which anybody reaches this node, who is not in its own network. */
export const openEndpoints = (own: readonly Endpoint[], configured: Endpoint | undefined): Endpoint[] =>
  own.filter((endpoint) => endpoint === configured || isPublic(splitEndpoint(endpoint).address))
