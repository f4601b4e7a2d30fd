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
  const tests = memberTests(policy, keyOf)
  return {
    rules,
    keyOf,
    membershipOf: (node) => new Set(tests.filter(([, holds]) => holds(node)).map(([key]) => key)),
  }
}

type MemberTest = readonly [key: string, holds: (node: PolicyNode) => boolean]

/** One for each selector of the rules but `*`, in order of their keys: the text of a membership is made of them. */
function memberTests(policy: ReadPolicy, keyOf: (target: Target) => string): MemberTest[] {
  const targets = policy.rules.flatMap(({ src, dst }) => [...src, ...dst.map(({ target }) => target)])
  const isNamed = (key: string) => (node: PolicyNode) => key === `node:${node.id}`
  const holds = (target: Target): ((node: PolicyNode) => boolean) => {
    switch (target.kind) {
      case 'all':
        return () => true
      case 'tag':
        return ({ tags }) => tags.includes(target.tag)
      case 'node':
        return isNamed(keyOf(target))
      case 'group': {
        const members = (policy.groups.get(target.group) ?? []).map(holds)
        return (node) => members.some((isMember) => isMember(node))
      }
      default:
        return ({ routes }) => routes.some((route) => networksOverlap(route, target.network))
    }
  }
  const byKey = new Map<string, Target>(targets.map((target) => [keyOf(target), target]))
  byKey.delete(ALL)
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, target]) => [key, holds(target)])
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
  const compiled = rules.map(({ src, dst }) => ({
    from: [...new Set(src.flatMap(memberClasses))].sort((a, b) => a - b),
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
      compiled.flatMap(({ from, dst }) =>
        dst
          .filter(({ key }) => from.length > 0 && holdsFor(key, membership))
          .map(({ network, ports }) => ({ from, to: network === undefined ? [] : [network], ports })),
      ),
    )
  }
  return { sees: memoized(sees), rulesOf: memoized(rulesOf) }
}

interface Entry {
  readonly from: readonly number[]
  readonly to: readonly Cidr[]
  readonly ports: PortSet
}

/** The same said in fewer rules: ports of the same senders together, then senders of the same ports, then networks of both. */
function mergeRules(entries: readonly Entry[]): MeshRule[] {
  const bySenders = merge(
    entries,
    ({ from, to }) => `${from} ${to}`,
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
