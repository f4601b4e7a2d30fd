/** Peers that can be spoken to beside WireGuard. One without an agent is on the interface, and for the rest is left alone. */
import type { NodeId, SealingKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'

export type AgentPeer = MeshPeer & { readonly seal: SealingKey }

export const hasAgent = (peer: MeshPeer): peer is AgentPeer => peer.seal !== undefined

export const withAgents = (peers: ReadonlyMap<NodeId, MeshPeer>): Map<NodeId, AgentPeer> =>
  new Map([...peers].filter((entry): entry is [NodeId, AgentPeer] => hasAgent(entry[1])))
