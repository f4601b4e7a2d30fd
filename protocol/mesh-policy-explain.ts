/** What a policy says of one pair: which rule allows it, whether its own tests hold, and what another policy would change. */
import type { Cidr, NodeId, NodeName, Tags } from './ids.ts'
import type { PolicyProblem } from './mesh-policy.ts'
import { type BoundPolicy, holdsFor, type Membership, type PolicyNode } from './mesh-policy-compile.ts'
import type { Member, ReadPolicy, ReadTest } from './mesh-policy-read.ts'
import type { Selector, Target } from './mesh-selector.ts'
import { isWithin } from './networks.ts'
import { includes, NO_PORTS, type PortQuery, type PortSet, union } from './port-set.ts'

/** Where a connection goes: to a node, or into a network behind whichever node routes to it. */
export type Place = { readonly node: Membership } | { readonly network: Cidr }

/** Index of the first rule that allows it; undefined if none does. */
export function allowingRule(
  policy: BoundPolicy,
  from: Membership,
  to: Place,
  query: PortQuery | undefined,
): number | undefined {
  const index = policy.rules.findIndex(({ src, dst }) => {
    if (!src.some((key) => holdsFor(key, from))) return false
    return dst.some((one) => reaches(one, to) && (query === undefined || includes(one.ports, query)))
  })
  return index === -1 ? undefined : index
}

/** Everything that any rule allows. */
export function allowedPorts(policy: BoundPolicy, from: Membership, to: Place): PortSet {
  const sets = policy.rules
    .filter(({ src }) => src.some((key) => holdsFor(key, from)))
    .flatMap(({ dst }) => dst.filter((one) => reaches(one, to)).map(({ ports }) => ports))
  return sets.length === 0 ? NO_PORTS : union(sets)
}

type Reached = BoundPolicy['rules'][number]['dst'][number]

/** `*` is every node, and no network: what lies behind a node is only reached where it is named. */
function reaches({ key, network }: Reached, to: Place): boolean {
  if ('network' in to) return network !== undefined && isWithin(to.network, network)
  return network === undefined && holdsFor(key, to.node)
}

/** Pairs of kinds of nodes, times rules, that the tests of one document may look at: the registry waits meanwhile. */
const MAX_TEST_WORK = 2_000_000

/**
 * A test of a tag speaks of every node that has it, and of one that has nothing else: so it also means something in a fleet where nobody
 * has it yet. Of a group, the same for each of its members.
 */
export function runPolicyTests(
  policy: ReadPolicy,
  bound: BoundPolicy,
  nodes: readonly NamedNode[],
): PolicyProblem[] {
  const subjects = new Subjects(policy, bound, nodes)
  let work = 0
  return policy.tests.flatMap((test, index): PolicyProblem[] => {
    const at = `tests[${index}]`
    const ends = { sources: subjects.of(test.from), targets: subjects.of(test.to) }
    const ports = test.accept.length + test.deny.length
    work += ends.sources.length * ends.targets.length * ports * bound.rules.length
    if (work <= MAX_TEST_WORK) return runTest(test, at, bound, ends)
    return [
      { at, kind: 'limit', message: 'up to here the tests compare too many kinds of nodes; name fewer' },
    ]
  })
}

export interface NamedNode extends PolicyNode {
  readonly name: NodeName
}

interface Subject {
  readonly what: string
  readonly place: Place
}

interface Ends {
  readonly sources: readonly Subject[]
  readonly targets: readonly Subject[]
}

function runTest(
  test: ReadTest,
  at: string,
  bound: BoundPolicy,
  { sources, targets }: Ends,
): PolicyProblem[] {
  const check = (list: 'accept' | 'deny'): PolicyProblem[] =>
    test[list].flatMap((query, index): PolicyProblem[] => {
      for (const source of sources) {
        if (!('node' in source.place)) continue
        for (const target of targets) {
          const rule = allowingRule(bound, source.place.node, target.place, query)
          if ((rule !== undefined) === (list === 'accept')) continue
          const verdict = rule === undefined ? 'no rule allows' : `rules[${rule}] allows`
          const message = `${verdict} ${source.what} to reach ${target.what} at ${queryText(query)}`
          return [{ at: `${at}.${list}[${index}]`, kind: 'test', message }]
        }
      }
      return []
    })
  return [...check('accept'), ...check('deny')]
}

export const queryText = (query: PortQuery): string =>
  query.proto === 'icmp' ? 'icmp' : `${query.proto}:${query.port}`

/** Whom the selectors of tests mean: one subject for nodes that the policy does not tell apart. */
class Subjects {
  readonly #policy: ReadPolicy
  readonly #bound: BoundPolicy
  readonly #nodes: readonly (NamedNode & { readonly membership: Membership })[]
  readonly #known = new Map<string, Subject[]>()

  constructor(policy: ReadPolicy, bound: BoundPolicy, nodes: readonly NamedNode[]) {
    this.#policy = policy
    this.#bound = bound
    this.#nodes = nodes.map((node) => ({ ...node, membership: bound.membershipOf(node) }))
  }

  of(target: Target): Subject[] {
    if (target.kind === 'network') return [{ what: target.network, place: { network: target.network } }]
    const key = this.#bound.keyOf(target)
    const known = this.#known.get(key) ?? this.#distinct(target)
    this.#known.set(key, known)
    return known
  }

  #distinct(target: Selector): Subject[] {
    const subjects = this.#subjects(target).map(({ what, membership }) => ({
      what,
      place: { node: membership },
    }))
    return [...new Map(subjects.map((subject) => [[...subject.place.node].join(), subject])).values()]
  }

  #subjects(selector: Selector): { what: string; membership: Membership }[] {
    switch (selector.kind) {
      case 'all':
        return [this.#bare('a node without tags', []), ...this.#where(() => true)]
      case 'tag':
        return [
          this.#bare(`a node with the tag ${selector.tag} alone`, [selector.tag]),
          ...this.#where(({ tags }) => tags.includes(selector.tag)),
        ]
      case 'node':
        return this.#where(({ name }) => name === selector.node)
      default:
        return this.#members(selector.group).flatMap((member) => this.#subjects(member))
    }
  }

  #members = (group: string): readonly Member[] => this.#policy.groups.get(group) ?? []

  #where(holds: (node: NamedNode) => boolean): { what: string; membership: Membership }[] {
    return this.#nodes.filter(holds).map(({ name, membership }) => ({ what: `node ${name}`, membership }))
  }

  /** No node has this id, so no rule that names one speaks of it. */
  #bare(what: string, tags: Tags): { what: string; membership: Membership } {
    const id = '' as NodeId
    return { what, membership: this.#bound.membershipOf({ id, tags, routes: [] }) }
  }
}
