/**
 * Which of the networks that the gateway says are behind peers this node routes to them. What this machine reaches by itself stays as it is,
 * and so does the way by which the tunnel itself goes. Pure.
 */
import type { NodeId, NodeName } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { canonicalNetwork, holdsAddress, isPrivateNetwork, networksOverlap } from '../../protocol/networks.ts'
import { findConflict, type Route, routeText } from './routes.ts'

export interface RouteStatus {
  readonly network: string
  /** The node that it is behind. */
  readonly by: NodeName
  /** Why it is not in use; null if it is. */
  readonly problem: string | null
}

interface Surroundings {
  readonly iface: string
  /** The fleet's ranges. */
  readonly fleet: readonly string[]
  readonly local: readonly Route[]
  /** Addresses, without port, by which peers are reached now. */
  readonly endpoints: readonly string[]
}

export interface AcceptedRoutes {
  readonly of: ReadonlyMap<NodeId, readonly string[]>
  readonly status: readonly RouteStatus[]
}

export function acceptRoutes(peers: readonly MeshPeer[], around: Surroundings): AcceptedRoutes {
  const of = new Map<NodeId, string[]>()
  const status: RouteStatus[] = []
  const taken: RouteStatus[] = []
  for (const { id, name, routes = [] } of peers) {
    for (const network of routes.map(canonicalNetwork)) {
      const problem = objection(network, taken, around) ?? null
      const one = { network, by: name, problem }
      status.push(one)
      if (problem !== null) continue
      taken.push(one)
      of.set(id, [...(of.get(id) ?? []), network])
    }
  }
  return { of, status }
}

function objection(
  network: string,
  taken: readonly RouteStatus[],
  { iface, fleet, local, endpoints }: Surroundings,
): string | undefined {
  if (!isPrivateNetwork(network)) return 'it is not within the private ranges'
  if (fleet.some((range) => networksOverlap(range, network))) return "it overlaps the fleet's own range"
  const holder = taken.find((other) => networksOverlap(other.network, network))
  if (holder !== undefined) return `it overlaps ${holder.network} behind ${holder.by}`
  const conflict = findConflict(local, [network], iface)
  if (conflict !== undefined) return `this machine has the route ${routeText(conflict)}`
  const endpoint = endpoints.find((address) => holdsAddress(network, address))
  if (endpoint !== undefined) return `the tunnel to ${endpoint} goes through it`
  return undefined
}
