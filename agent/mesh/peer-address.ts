/** A peer's IPv6 address, worked out once: it is asked for at every look at the interface, and ten thousand of them take a tenth of a second. */
import { nodeIpv6 } from '../../protocol/addresses.ts'
import type { FleetId, Ipv6 } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'

const known = new WeakMap<MeshPeer, Ipv6>()

/** @param peer an entry of that fleet's map. */
export function peerIpv6(fleet: FleetId, peer: MeshPeer): Ipv6 {
  const address = known.get(peer) ?? nodeIpv6(fleet, peer.id)
  known.set(peer, address)
  return address
}
