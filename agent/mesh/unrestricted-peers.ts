/**
 * Which peers may be let in where nothing enforces the rules here: those that may send everything. Any other would get more than its owner
 * allows, and a node that silently runs open is worse than one that is missed.
 */
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { MeshRules } from './map.ts'
import type { RefusedPeer } from './refused-peers.ts'

export function unrestrictedPeers(
  peers: readonly MeshPeer[],
  rules: MeshRules,
  problem: string,
): { readonly peers: readonly MeshPeer[]; readonly refused: readonly RefusedPeer[] } {
  if (rules === null) return { peers, refused: [] }
  const free = new Set(
    rules
      .filter(({ to, allow }) => to === undefined && allow.some(({ proto }) => proto === 'any'))
      .flatMap(({ from }) => from),
  )
  const mayPass = ({ class: number = 0 }: MeshPeer) => free.has(number)
  const why = `the policy limits what it may send here, and nothing enforces that: ${problem}`
  return {
    peers: peers.filter(mayPass),
    refused: peers.filter((peer) => !mayPass(peer)).map(({ id }) => ({ id, why })),
  }
}
