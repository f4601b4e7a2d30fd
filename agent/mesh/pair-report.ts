/** What is told of this node's pairs: all of one page to whoever asks, and in telemetry the counts and the worst. */
import { Endpoint, type NodeId } from '../../protocol/ids.ts'
import { MAX_WORST_PAIRS, MESH_REPORT_PAIRS } from '../../protocol/limits.ts'
import { MeshPath, type MeshReport, type MeshSummary, PairReport } from '../../protocol/mesh-report.ts'

/** Of a peer's status what is reported; the optional parts are said where something is known of them. */
export interface Pair {
  readonly id: NodeId
  readonly path: MeshPath
  readonly endpoint: string | null
  /** RFC 3339. */
  readonly lastHandshake: string | null
  readonly rxBytes: number
  readonly txBytes: number
  readonly latencyMs?: number | null | undefined
  readonly reason?: string | null | undefined
  readonly hint?: string | null | undefined
}

/** The best comes first. */
const RANK = new Map(MeshPath.options.map((path, rank) => [path, rank]))
const rankOf = (path: MeshPath): number => RANK.get(path) ?? RANK.size
/** From here on a pair wants looking at. */
const POOR = rankOf('relay')

export function summarise(pairs: readonly Pair[]): MeshSummary {
  const counts = new Map<MeshPath, number>()
  for (const { path } of pairs) counts.set(path, (counts.get(path) ?? 0) + 1)
  // In one order, because whether it has changed is told by its text.
  const paths = Object.fromEntries([...counts].sort(([a], [b]) => rankOf(a) - rankOf(b)))
  const poor = pairs.filter(({ path }) => rankOf(path) >= POOR)
  poor.sort((a, b) => rankOf(b.path) - rankOf(a.path) || (b.latencyMs ?? 0) - (a.latencyMs ?? 0))
  const worst = poor.slice(0, MAX_WORST_PAIRS).map((pair) => {
    const { peer, path, reason, latencyMs } = reportPair(pair)
    return { peer, path, ...(reason && { reason }), ...(latencyMs !== undefined && { latencyMs }) }
  })
  return { paths, worst }
}

export function reportPage(
  pairs: readonly Pair[],
  open: readonly Endpoint[],
  after: NodeId | undefined,
): MeshReport {
  const rest = pairs
    .filter(({ id }) => after === undefined || id > after)
    .sort((a, b) => (a.id < b.id ? -1 : 1))
  const page = rest.slice(0, MESH_REPORT_PAIRS)
  const last = page.at(-1)
  const more = rest.length > page.length && last !== undefined
  return { kind: 'report', open: [...open], pairs: page.map(reportPair), ...(more && { next: last.id }) }
}

export function reportPair(pair: Pair): PairReport {
  const { id, path, endpoint, lastHandshake, rxBytes, txBytes, latencyMs, reason, hint } = pair
  const { reason: reasonForm, hint: hintForm } = PairReport.shape
  return {
    peer: id,
    path,
    endpoint: Endpoint.safeParse(endpoint).data ?? null,
    lastHandshake: lastHandshake === null ? null : Math.floor(Date.parse(lastHandshake) / 1000),
    rxBytes,
    txBytes,
    ...(typeof latencyMs === 'number' && { latencyMs }),
    // What does not fit the form is better left out than refused with all the rest.
    ...(reason && reasonForm.safeParse(reason).success && { reason }),
    ...(hint && hintForm.safeParse(hint).success && { hint }),
  }
}
