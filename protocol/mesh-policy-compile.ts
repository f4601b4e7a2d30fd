/**
 * A policy, compiled for classes of nodes: nodes of which the policy says the same are one class. Who hears of whom, and which rules a
 * receiver holds to, follow for a class, not for a node.
 */
import type { Cidr, NodeId, NodeName, Tags } from './ids.ts'
import type { MeshRule } from './mesh.ts'
import type { ReadPolicy } from './mesh-policy-read.ts'
import type { Target } from './mesh-selector.ts'
import { networksOverlap } from './networks.ts'
import { type PortSet, portTexts, toMeshPorts, union } from './port-set.ts'

/** What a policy can know a node by. */
export interface PolicyNode {
  readonly id: NodeId
  readonly tags: Tags
  /** Networks behind it that are approved. */
  readonly routes: readonly Cidr[]
}

/** The selectors that hold for a node, as text: `tag:x`, `group:x`, `node:ID`, `net:10.1.0.0/24`. */
export type Membership = ReadonlySet<string>

/** What holds for every node. */
const ALL = '*'

interface BoundDestination {
  readonly key: string
  readonly network: Cidr | undefined
  readonly ports: PortSet
}

interface BoundRule {
  readonly src: readonly string[]
  readonly dst: readonly BoundDestination[]
}

/** A policy whose nodes are known by id: a name may pass to another machine, an identity cannot. */
export interface BoundPolicy {
  readonly rules: readonly BoundRule[]
  /** Tells which of the selectors that the rules mention hold for a node. */
  membershipOf(node: PolicyNode): Membership
  keyOf(target: Target): string
}

/** @param ids of the nodes that the policy names; a name that is not there means nobody. */
export function bindPolicy(policy: ReadPolicy, ids: ReadonlyMap<NodeName, NodeId>): BoundPolicy {
  const keyOf = (target: Target): string => {
    switch (target.kind) {
      case 'all':
        return ALL
      case 'tag':
        return `tag:${target.tag}`
      case 'group':
        return `group:${target.group}`
      case 'node':
        return `node:${ids.get(target.node) ?? ''}`
      default:
        return `net:${target.network}`
    }
  }
  const rules = policy.rules.map(({ src, dst }) => ({
    src: src.map(keyOf),
    dst: dst.map(({ target, ports }) => ({
      key: keyOf(target),
      network: target.kind === 'network' ? target.network : undefined,
      ports,
    })),
  }))
  return {
    rules,
    keyOf,
    membershipOf: memberships(policy, keyOf),
  }
}

/** By what a node has, not by what the policy mentions: a fleet is looked through for each document that somebody tries out. */
function memberships(
  policy: ReadPolicy,
  keyOf: (target: Target) => string,
): (node: PolicyNode) => Membership {
  const byTag = new Map<string, Set<string>>()
  const byNode = new Map<string, Set<string>>()
  const networks = new Map<string, Cidr>()
  const note = (index: Map<string, Set<string>>, of: string, key: string): void => {
    index.set(of, (index.get(of) ?? new Set<string>()).add(key))
  }
  const noteMember = (target: Target, key: string): void => {
    if (target.kind === 'tag') note(byTag, target.tag, key)
    if (target.kind === 'node') note(byNode, keyOf(target), key)
    if (target.kind === 'network') networks.set(key, target.network)
  }
  const targets = policy.rules.flatMap(({ src, dst }) => [...src, ...dst.map(({ target }) => target)])
  for (const [key, target] of new Map(targets.map((one) => [keyOf(one), one]))) {
    const members = target.kind === 'group' ? (policy.groups.get(target.group) ?? []) : [target]
    for (const member of members) noteMember(member, key)
  }
  return ({ id, tags, routes }) => {
    const reached =
      routes.length === 0
        ? []
        : [...networks].filter(([, one]) => routes.some((route) => networksOverlap(route, one)))
    const keys = [
      ...tags.flatMap((tag) => [...(byTag.get(tag) ?? [])]),
      ...(byNode.get(`node:${id}`) ?? []),
      ...reached.map(([key]) => key),
    ]
    // In order: the text of a membership is made of them.
    return new Set(keys.sort())
  }
}

export const holdsFor = (key: string, membership: Membership): boolean => key === ALL || membership.has(key)

export interface CompiledPolicy {
  /** The classes that this one may send to or receive from. */
  sees(audience: number): ReadonlySet<number>
  /** What a node of this class lets in. */
  rulesOf(audience: number): readonly MeshRule[]
}

export function compilePolicy(
  { rules }: BoundPolicy,
  classes: ReadonlyMap<number, Membership>,
): CompiledPolicy {
  const matching = (key: string): number[] =>
    [...classes].filter(([, membership]) => holdsFor(key, membership)).map(([id]) => id)
  const memberClasses = memoized(matching)
  // Equal lists are one list, which is told apart from others without being read.
  const lists = new Map<string, Senders>()
  const sendersOf = (src: readonly string[]): Senders => {
    const from = [...new Set(src.flatMap(memberClasses))].sort((a, b) => a - b)
    const known = lists.get(from.join()) ?? { from, list: lists.size }
    lists.set(from.join(), known)
    return known
  }
  const compiled = rules.map(({ src, dst }) => ({
    ...sendersOf(src),
    to: new Set(dst.flatMap(({ key }) => memberClasses(key))),
    src: new Set(src),
    dst,
  }))
  const sees = (audience: number): ReadonlySet<number> => {
    const membership = classes.get(audience)
    const seen = new Set<number>()
    if (membership === undefined) return seen
    for (const { src, from, to } of compiled) {
      if ([...src].some((key) => holdsFor(key, membership))) for (const id of to) seen.add(id)
      if (to.has(audience)) for (const id of from) seen.add(id)
    }
    return seen
  }
  const rulesOf = (audience: number): MeshRule[] => {
    const membership = classes.get(audience)
    if (membership === undefined) return []
    return mergeRules(
      compiled.flatMap(({ from, list, dst }) =>
        dst
          .filter(({ key }) => from.length > 0 && holdsFor(key, membership))
          .map(({ network, ports }) => ({ from, list, to: network === undefined ? [] : [network], ports })),
      ),
    )
  }
  return { sees: memoized(sees), rulesOf: memoized(rulesOf) }
}

interface Senders {
  readonly from: readonly number[]
  readonly list: number
}

interface Entry extends Senders {
  readonly to: readonly Cidr[]
  readonly ports: PortSet
}

/** The same said in fewer rules: ports of the same senders together, then senders of the same ports, then networks of both. */
function mergeRules(entries: readonly Entry[]): MeshRule[] {
  const bySenders = merge(
    entries,
    ({ list, to }) => `${list} ${to}`,
    (same) => ({
      ports: union(same.map(({ ports }) => ports)),
    }),
  )
  const byPorts = merge(
    bySenders,
    ({ ports, to }) => `${portTexts(ports)} ${to}`,
    (same) => ({
      from: [...new Set(same.flatMap(({ from }) => from))].sort((a, b) => a - b),
    }),
  )
  const merged = merge(
    byPorts,
    ({ from, ports, to }) => `${from} ${portTexts(ports)} ${to.length > 0}`,
    (same) => ({
      to: [...new Set(same.flatMap(({ to }) => to))],
    }),
  )
  return merged.map(({ from, to, ports }) => ({
    from: [...from],
    ...(to.length > 0 && { to: [...to] }),
    allow: toMeshPorts(ports),
  }))
}

const merge = (
  entries: readonly Entry[],
  keyOf: (entry: Entry) => string,
  together: (same: readonly Entry[]) => Partial<Entry>,
): Entry[] =>
  [...Map.groupBy(entries, keyOf).values()].flatMap((same) => {
    const [first] = same
    return first === undefined ? [] : [{ ...first, ...together(same) }]
  })

function memoized<K, V>(work: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>()
  return (key) => {
    const value = known.get(key) ?? work(key)
    known.set(key, value)
    return value
  }
}
