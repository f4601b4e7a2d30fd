/** The peers of the map that this node lets onto its interface. A peer must not take what is ours, another peer's, or outside the fleet. */
import { type Ipv4Range, nodeIpv6 } from '../../protocol/addresses.ts'
import type { FleetId, Ipv4, NodeId, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { isIn } from './fleet-range.ts'
import { peerIpv6 } from './peer-address.ts'
import type { RefusedPeer } from './refused-peers.ts'

interface Self {
  readonly id: NodeId
  readonly ipv4: Ipv4
  readonly wireguard: { readonly publicKey: WireGuardKey }
}

export interface Acceptance {
  readonly peers: ReadonlyMap<NodeId, MeshPeer>
  readonly refused: readonly RefusedPeer[]
}

/** Of peers that claim the same thing the first in the map has it. Our own entry is no peer, and nothing wrong. */
export function acceptPeers(
  map: ReadonlyMap<NodeId, MeshPeer>,
  fleet: { readonly id: FleetId; readonly range: Ipv4Range },
  { id, ipv4, wireguard }: Self,
): Acceptance {
  const ours = [id, wireguard.publicKey, ipv4]
  // The forms differ, so that one set holds them all. IPv6 is there because it follows from the first 80 bits of the id only.
  const taken = new Map<string, string>(
    [...ours, nodeIpv6(fleet.id, id)].map((value) => [value, 'this node']),
  )
  const peers = new Map<NodeId, MeshPeer>()
  const refused: RefusedPeer[] = []
  for (const peer of map.values()) {
    // While our key changes the map may say the one before, or the one to come.
    const isOurs = peer.wg === wireguard.publicKey || peer.next === wireguard.publicKey
    if (peer.id === id && peer.ip4 === ipv4 && isOurs) continue
    const { next = peer.wg } = peer
    const claims = [...new Set([peer.id, peer.wg, next, peer.ip4, peerIpv6(fleet.id, peer)])]
    const holder = claims.map((claim) => taken.get(claim)).find((found) => found !== undefined)
    if (!isIn(fleet.range, peer.ip4)) {
      refused.push({ id: peer.id, why: `its address ${peer.ip4} is not in the fleet's range` })
    } else if (holder !== undefined) {
      refused.push({ id: peer.id, why: `it claims an id, key or address of ${holder}` })
    } else {
      for (const claim of claims) taken.set(claim, peer.id)
      peers.set(peer.id, peer)
    }
  }
  return { peers, refused }
}
