/** Pairs of nodes as the nodes themselves report them, put together. */
import type { NodeId, NodeName } from '../../protocol/ids.ts'
import { MeshPath, type PairReport } from '../../protocol/mesh-report.ts'

/** One direction: how `from` reaches `to`. */
export interface Edge extends Omit<PairReport, 'peer'> {
  readonly from: NodeName
  /** An id where the name is not known, as that of a peer without an agent may be to a viewer of nodes. */
  readonly to: NodeName | NodeId
}

export const edgesOf = (
  from: NodeName,
  pairs: readonly PairReport[],
  names: ReadonlyMap<NodeId, NodeName>,
): Edge[] => pairs.map(({ peer, ...pair }) => ({ from, to: names.get(peer) ?? peer, ...pair }))

/** Each pair once, as the end sees it that sees it worse; in order of names. */
export function worseEnds(edges: readonly Edge[]): Edge[] {
  const pairs = new Map<string, Edge>()
  for (const edge of edges) {
    const key = [edge.from, edge.to].sort().join(' ')
    const other = pairs.get(key)
    if (other === undefined || rank(edge) > rank(other)) pairs.set(key, edge)
  }
  return [...pairs.values()].sort((a, b) => compare(a.from, b.from) || compare(a.to, b.to))
}

const STYLES: Readonly<Record<MeshPath, string>> = {
  lan: 'solid',
  direct: 'solid',
  punched: 'solid',
  relay: 'dashed',
  none: 'dotted',
}

/** For Graphviz. Names and reasons have no character that would end a string there. */
export function dotGraph(edges: readonly Edge[]): string {
  const lines = worseEnds(edges).map(({ from, to, path, latencyMs, reason }) => {
    const label = [path, ...(latencyMs === undefined ? [] : [`${latencyMs} ms`]), ...(reason ? [reason] : [])]
    return `  "${from}" -- "${to}" [style=${STYLES[path]}, label="${label.join('\\n')}"]\n`
  })
  return `graph mesh {\n${lines.join('')}}\n`
}

const rank = ({ path }: Edge): number => MeshPath.options.indexOf(path)
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
