/** A policy document, read: every problem it has is found at once, each with its place. */
import type { NodeName } from './ids.ts'
import { MAX_MESH_RULES } from './limits.ts'
import { MeshPolicyDocument, type PolicyProblem, type PolicyProblemKind, placeOf } from './mesh-policy.ts'
import {
  type Destination,
  GROUP_NAME,
  parseDestination,
  parseSelector,
  parseTarget,
  type Selector,
  type Target,
  type Wrong,
} from './mesh-selector.ts'
import { type PortQuery, parsePortQuery } from './port-set.ts'
import { err, ok, type Result } from './result.ts'

/** What a group is made of: no groups of groups, and not everybody. */
export type Member = Extract<Selector, { kind: 'tag' | 'node' }>

interface ReadRule {
  readonly src: readonly Selector[]
  readonly dst: readonly Destination[]
}

export interface ReadTest {
  readonly from: Selector
  readonly to: Target
  readonly accept: readonly PortQuery[]
  readonly deny: readonly PortQuery[]
}

export interface ReadPolicy {
  readonly groups: ReadonlyMap<string, readonly Member[]>
  readonly rules: readonly ReadRule[]
  readonly tests: readonly ReadTest[]
  /** Every node that is named, and where it was first. */
  readonly nodes: ReadonlyMap<NodeName, string>
}

export function readPolicy(input: unknown): Result<ReadPolicy, PolicyProblem[]> {
  const parsed = MeshPolicyDocument.safeParse(input)
  if (!parsed.success) return err(parsed.error.issues.flatMap(formProblems))
  const reader = new Reader(parsed.data)
  const policy = reader.read()
  return reader.problems.length === 0 ? ok(policy) : err(reader.problems)
}

type Place = readonly (string | number)[]

class Reader {
  readonly problems: PolicyProblem[] = []
  readonly #document: MeshPolicyDocument
  readonly #nodes = new Map<NodeName, string>()

  constructor(document: MeshPolicyDocument) {
    this.#document = document
  }

  read(): ReadPolicy {
    const { rules, tests = [] } = this.#document
    const groups = this.#groups()
    const read = {
      groups,
      rules: rules.map(({ src, dst, proto }, index) => ({
        src: this.#each(['rules', index, 'src'], src, parseSelector),
        dst: this.#each(['rules', index, 'dst'], dst, (text) => parseDestination(text, proto)),
      })),
      tests: tests.flatMap((test, index) => this.#test(['tests', index], test)),
      nodes: this.#nodes,
    }
    if (rules.reduce((sum, { dst }) => sum + dst.length, 0) > MAX_MESH_RULES)
      this.#add(['rules'], 'limit', `more than ${MAX_MESH_RULES} destinations together`)
    return read
  }

  #groups(): Map<string, Member[]> {
    const groups = new Map<string, Member[]>()
    for (const [name, words] of Object.entries(this.#document.groups ?? {})) {
      if (!GROUP_NAME.test(name))
        this.#add(['groups', name], 'group', 'a group has a name of 1 to 63 of a-z 0-9 _ . -')
      groups.set(name, this.#each(['groups', name], words, parseMember))
    }
    return groups
  }

  #test(place: Place, { from, to, accept = [], deny = [] }: Test): ReadTest[] {
    const [source] = this.#each(place, [from], parseSelector, 'from')
    const [target] = this.#each(place, [to], parseTarget, 'to')
    const read = {
      accept: this.#each([...place, 'accept'], accept, parseTestPort),
      deny: this.#each([...place, 'deny'], deny, parseTestPort),
    }
    if (accept.length + deny.length === 0) this.#add(place, 'form', 'a test has `accept` or `deny`, or both')
    return source === undefined || target === undefined ? [] : [{ from: source, to: target, ...read }]
  }

  /** @param field where the words are no list: the name of the one. */
  #each<T>(
    place: Place,
    words: readonly string[],
    parse: (text: string) => Result<T, Wrong>,
    field?: string,
  ): T[] {
    return words.flatMap((text, index) => {
      const at = [...place, field ?? index]
      const parsed = parse(text)
      if (!parsed.ok) {
        this.#add(at, parsed.error.kind, parsed.error.message)
        return []
      }
      this.#note(parsed.value, at)
      return [parsed.value]
    })
  }

  /** Nodes are looked up later; a group has to be in the document. */
  #note(value: unknown, at: Place): void {
    const selector = (isDestination(value) ? value.target : value) as Partial<Target>
    if (selector.kind === 'node' && selector.node !== undefined && !this.#nodes.has(selector.node))
      this.#nodes.set(selector.node, placeOf(at))
    if (selector.kind === 'group' && !Object.hasOwn(this.#document.groups ?? {}, selector.group ?? ''))
      this.#add(at, 'group', `there is no group ${selector.group} in the document`)
  }

  #add(place: Place, kind: PolicyProblemKind, message: string): void {
    this.problems.push({ at: placeOf(place), kind, message })
  }
}

type Test = NonNullable<MeshPolicyDocument['tests']>[number]

function parseMember(text: string): Result<Member, Wrong> {
  const selector = parseSelector(text)
  if (!selector.ok) return selector
  if (selector.value.kind === 'tag' || selector.value.kind === 'node') return ok(selector.value)
  return err({ kind: 'selector', message: 'a group is made of tag:NAME and node:NAME' })
}

function parseTestPort(text: string): Result<PortQuery, Wrong> {
  const query = parsePortQuery(text)
  if (query !== undefined) return ok(query)
  return err({ kind: 'ports', message: 'a port of a test is tcp:PORT, udp:PORT or icmp' })
}

const isDestination = (value: unknown): value is Destination =>
  typeof value === 'object' && value !== null && 'target' in value

interface Issue {
  readonly code: string
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly keys?: readonly string[]
}

/** An unknown field is named where it stands. */
function formProblems({ code, path, message, keys = [] }: Issue): PolicyProblem[] {
  if (code !== 'unrecognized_keys') return [{ at: placeOf(path), kind: 'form', message }]
  return keys.map((key) => ({ at: placeOf([...path, key]), kind: 'form', message: 'there is no such field' }))
}
