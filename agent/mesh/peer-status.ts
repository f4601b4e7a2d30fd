/** How a peer is, as people and the gateway are told. */

import type { FleetId, Ipv4, Ipv6, NodeId, NodeName } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { PathStatus } from './paths/path-engine.ts'
import { peerIpv6 } from './peer-address.ts'
import type { ActualPeer } from './reconcile.ts'

/** WireGuard refuses a session older than this (REJECT_AFTER_TIME): what was reachable then need not be now. */
const HANDSHAKE_FRESH_MS = 180_000

export interface PeerStatus extends PathStatus {
  readonly id: NodeId
  readonly name: NodeName
  readonly ipv4: Ipv4
  readonly ipv6: Ipv6
  readonly endpoint: string | null
  /** RFC 3339 in UTC. */
  readonly lastHandshake: string | null
  readonly rxBytes: number
  readonly txBytes: number
}

export const isReachable = (peer: ActualPeer | undefined, now: number): boolean =>
  peer !== undefined && peer.lastHandshake > 0 && now - peer.lastHandshake * 1000 < HANDSHAKE_FRESH_MS

export function peerStatus(
  fleet: FleetId,
  peer: MeshPeer,
  actual: ActualPeer | undefined,
  path: PathStatus,
): PeerStatus {
  const handshake = actual?.lastHandshake ?? 0
  return {
    id: peer.id,
    name: peer.name,
    ipv4: peer.ip4,
    ipv6: peerIpv6(fleet, peer),
    endpoint: actual?.endpoint ?? null,
    ...path,
    lastHandshake: handshake > 0 ? new Date(handshake * 1000).toISOString() : null,
    rxBytes: actual?.rxBytes ?? 0,
    txBytes: actual?.txBytes ?? 0,
  }
}
