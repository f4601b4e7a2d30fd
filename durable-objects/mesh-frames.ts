/** Mesh changes as session frames: what a peer is told of a node, and how much goes into one frame. */
import { numberToIpv4 } from '../protocol/addresses.ts'
import { type NodeId, Tags } from '../protocol/ids.ts'
import { MESH_ENTRIES_PER_FRAME } from '../protocol/limits.ts'
import type { MeshChanges, MeshPeer, MeshRule } from '../protocol/mesh.ts'
import type { PolicyNode } from '../protocol/mesh-policy-compile.ts'
import type { NodeRow } from './fleet-schema.ts'
import { routesOf } from './node-routes.ts'

export const isMember = (row: NodeRow): boolean =>
  row.mesh === 1 && row.removed_at === null && row.quarantine === null

export function peerOf(row: NodeRow): MeshPeer {
  const tags = Tags.parse(JSON.parse(row.tags))
  const routes = routesOf(row)
  return {
    id: row.id,
    name: row.name,
    wg: row.wg_key,
    ...(row.external === 0 && { seal: row.sealing_key }),
    ip4: numberToIpv4(row.ipv4),
    ...(tags.length > 0 && { tags }),
    ...(row.wg_next !== null && { next: row.wg_next }),
    ...(routes.length > 0 && { routes }),
    ...(row.class !== null && row.class > 0 && { class: row.class }),
  }
}

/** What a policy can know the node by. */
export const policyNodeOf = (row: NodeRow): PolicyNode => ({
  id: row.id,
  tags: Tags.parse(JSON.parse(row.tags)),
  routes: routesOf(row),
})

/** One entry of a delta: the peer as it is now, or the id of one that is gone. */
export interface MeshEntry {
  readonly seq: number
  readonly peer: MeshPeer | NodeId
}

/** Cut so that each frame stays small; each part leads to the place its last entry has. */
export function deltaFrames(
  epoch: string,
  from: number,
  to: number,
  entries: readonly MeshEntry[],
): string[] {
  const parts = cut(entries)
  return parts.map((part, index) => {
    const start = index === 0 ? from : (parts[index - 1]?.at(-1)?.seq ?? from)
    const end = index === parts.length - 1 ? to : (part.at(-1)?.seq ?? to)
    return encode({ epoch, from: start, to: end, ...changesOf(part) })
  })
}

/** Takes effect as a whole, with its last part: between two policies there is no place at which a node could stop. */
export function wholeDeltaFrames(
  epoch: string,
  from: number,
  to: number,
  entries: readonly MeshEntry[],
  rules: readonly MeshRule[] | null | undefined,
): string[] {
  const parts = cut(entries)
  return parts.map((part, index) => {
    const isLast = index === parts.length - 1
    return encode({
      epoch,
      from,
      to,
      ...changesOf(part),
      ...(isLast ? rules !== undefined && { rules: rules && [...rules] } : { more: true as const }),
    })
  })
}

/** @param rules null without a policy, which a snapshot need not say. */
export function snapshotFrames(
  epoch: string,
  to: number,
  peers: readonly MeshPeer[],
  rules: readonly MeshRule[] | null,
): string[] {
  const parts = cut(peers)
  return parts.map((put, index) => {
    const isLast = index === parts.length - 1
    return encode({
      epoch,
      to,
      put,
      ...(isLast ? rules !== null && { rules: [...rules] } : { more: true as const }),
    })
  })
}

function changesOf(entries: readonly MeshEntry[]): Pick<MeshChanges, 'put' | 'del'> {
  const put = entries.flatMap(({ peer }) => (typeof peer === 'string' ? [] : [peer]))
  const del = entries.flatMap(({ peer }) => (typeof peer === 'string' ? [peer] : []))
  return { ...(put.length > 0 && { put }), ...(del.length > 0 && { del }) }
}

/** At least one part, if only to move the place on. */
function cut<T>(items: readonly T[]): T[][] {
  const parts: T[][] = []
  for (let start = 0; start === 0 || start < items.length; start += MESH_ENTRIES_PER_FRAME)
    parts.push(items.slice(start, start + MESH_ENTRIES_PER_FRAME))
  return parts
}

const encode = (changes: MeshChanges): string => JSON.stringify({ type: 'mesh', ...changes })
