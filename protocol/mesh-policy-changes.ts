/** What one policy takes away from, and gives to, a fleet that lives by another. */
import * as z from 'zod'
import { NodeName } from './ids.ts'
import type { BoundPolicy, Membership } from './mesh-policy-compile.ts'
import { allowedPorts, type NamedNode } from './mesh-policy-explain.ts'
import { covers, EVERYTHING, isEmpty, type PortSet, portTexts } from './port-set.ts'

/** Pairs of kinds of nodes, times rules, that are compared; the registry waits meanwhile, and this takes it some hundred milliseconds. */
const MAX_COMPARISONS = 1_000_000
/** Changes that are told one by one; the counts are of all. */
const MAX_TOLD = 100
const MAX_NAMES = 5

/** Nodes that both policies treat alike, as an end of a connection. */
const PairEnd = z.object({ names: z.array(NodeName), more: z.int().nonnegative() })

const PairChange = z.object({
  from: PairEnd,
  to: PairEnd,
  pairs: z.int().positive(),
  /** Ports as `tcp:22,80`, `udp`, `icmp`, `any`; none: they do not reach each other in this direction. */
  before: z.array(z.string()),
  after: z.array(z.string()),
  loses: z.boolean(),
  gains: z.boolean(),
})
export type PairChange = z.infer<typeof PairChange>

export const PolicyChanges = z.object({
  /** Pairs, each direction by itself, that lose ports; that lose all of them; that gain some. */
  losing: z.int().nonnegative(),
  cutOff: z.int().nonnegative(),
  gaining: z.int().nonnegative(),
  /** Those that lose first. Not all of them, where there are many. */
  told: z.array(PairChange),
})
export type PolicyChanges = z.infer<typeof PolicyChanges>

interface Kind {
  readonly nodes: readonly NamedNode[]
  readonly before: Membership
  readonly after: Membership
}

/** @param before undefined where everything was allowed. @returns undefined if the fleet is too motley to be compared. */
export function policyChanges(
  before: BoundPolicy | undefined,
  after: BoundPolicy,
  nodes: readonly NamedNode[],
): PolicyChanges | undefined {
  const kinds = kindsOf(before, after, nodes)
  const rules = after.rules.length + (before?.rules.length ?? 0)
  if (kinds.length ** 2 * rules > MAX_COMPARISONS) return undefined
  const changes = kinds.flatMap((from) => kinds.flatMap((to) => changeOf(before, after, from, to)))
  const sum = (part: readonly PairChange[]): number => part.reduce((total, { pairs }) => total + pairs, 0)
  return {
    losing: sum(changes.filter(({ loses }) => loses)),
    cutOff: sum(changes.filter((change) => change.loses && change.after.length === 0)),
    gaining: sum(changes.filter(({ gains }) => gains)),
    told: [...changes.filter(({ loses }) => loses), ...changes.filter(({ loses }) => !loses)].slice(
      0,
      MAX_TOLD,
    ),
  }
}

function kindsOf(before: BoundPolicy | undefined, after: BoundPolicy, nodes: readonly NamedNode[]): Kind[] {
  const placed = nodes.map((node) => ({
    node,
    before: before?.membershipOf(node) ?? new Set<string>(),
    after: after.membershipOf(node),
  }))
  const groups = Map.groupBy(placed, (one) => `${[...one.before].join(' ')}\n${[...one.after].join(' ')}`)
  return [...groups.values()].flatMap((same) => {
    const [first] = same
    return first === undefined ? [] : [{ ...first, nodes: same.map(({ node }) => node) }]
  })
}

function changeOf(before: BoundPolicy | undefined, after: BoundPolicy, from: Kind, to: Kind): PairChange[] {
  const pairs = from.nodes.length * to.nodes.length - (from === to ? from.nodes.length : 0)
  if (pairs === 0) return []
  const had = before === undefined ? EVERYTHING : allowedPorts(before, from.before, { node: to.before })
  const has = allowedPorts(after, from.after, { node: to.after })
  const [loses, gains] = [!coversAll(has, had), !coversAll(had, has)]
  if (!loses && !gains) return []
  return [
    { from: endOf(from), to: endOf(to), pairs, before: portTexts(had), after: portTexts(has), loses, gains },
  ]
}

const coversAll = (outer: PortSet, inner: PortSet): boolean => isEmpty(inner) || covers(outer, inner)

const endOf = ({ nodes }: Kind): PairChange['from'] => ({
  names: nodes.slice(0, MAX_NAMES).map(({ name }) => name),
  more: Math.max(0, nodes.length - MAX_NAMES),
})
