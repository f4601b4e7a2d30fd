/** The mesh policy in the registry: set, tried out, explained. A document that has problems, or fails its own tests, changes nothing. */
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { Cidr, NodeId, NodeName } from '../protocol/ids.ts'
import { MAX_MESH_CLASSES, MAX_MESH_RULES_BYTES } from '../protocol/limits.ts'
import type { MeshPolicyDocument, PolicyProblem } from '../protocol/mesh-policy.ts'
import type {
  MeshPolicyExplainReply,
  MeshPolicyHistory,
  MeshPolicyReply,
  MeshPolicySetReply,
  MeshPolicyTestReply,
} from '../protocol/mesh-policy-api.ts'
import { policyChanges } from '../protocol/mesh-policy-changes.ts'
import {
  type BoundPolicy,
  bindPolicy,
  compilePolicy,
  type Membership,
} from '../protocol/mesh-policy-compile.ts'
import {
  allowedPorts,
  allowingRule,
  type NamedNode,
  type Place,
  queryText,
  runPolicyTests,
} from '../protocol/mesh-policy-explain.ts'
import { type ReadPolicy, readPolicy } from '../protocol/mesh-policy-read.ts'
import { type PortQuery, portTexts } from '../protocol/port-set.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { FleetMesh } from './fleet-mesh.ts'
import type { NodeRow } from './fleet-schema.ts'
import { isMember, policyNodeOf } from './mesh-frames.ts'
import { isConcerned } from './mesh-places.ts'
import type { PolicyVersion } from './mesh-policies.ts'
import type { Sql } from './sql.ts'

export interface PolicyWrite {
  /** The document, as JSON. */
  readonly text: string
  /** The version that it replaces, 0 for none. */
  readonly cas: number
  readonly actor: string
}

export interface PolicyQuestion {
  readonly from: NodeName
  readonly to: NodeName | Cidr
  readonly query: PortQuery | undefined
}

interface Checked {
  readonly read: ReadPolicy
  readonly bound: BoundPolicy
  readonly ids: ReadonlyMap<NodeName, NodeId>
  readonly nodes: readonly NamedNode[]
}

export class FleetPolicy {
  readonly #sql: Sql
  readonly #mesh: FleetMesh

  constructor(sql: Sql, mesh: FleetMesh) {
    this.#sql = sql
    this.#mesh = mesh
  }

  /** @param version the newest if undefined. */
  get(version: number | undefined): MeshPolicyReply | undefined {
    const { policies } = this.#mesh
    const found = policies.version(version ?? policies.newest)
    if (found !== undefined)
      return { version: found.version, policy: found.document, at: isoTime(found.at), actor: found.actor }
    const isNone = policies.newest === 0 && (version ?? 0) === 0
    return isNone ? { version: 0, policy: null, at: null, actor: null } : undefined
  }

  history(): MeshPolicyHistory {
    const items = this.#mesh.policies.history().map(({ version, at, actor, read }) => ({
      version,
      at: isoTime(at),
      actor,
      rules: read.rules.length,
    }))
    return { items }
  }

  /** @param text the document, as JSON. */
  test(text: string): MeshPolicyTestReply {
    const document: unknown = JSON.parse(text)
    const { policies } = this.#mesh
    const version = policies.newest
    const checked = this.#check(document)
    if (!checked.ok) {
      const read = readPolicy(document)
      return { version, problems: checked.error, tests: read.ok ? read.value.tests.length : 0, changes: null }
    }
    const { read, bound, nodes } = checked.value
    const changes = policyChanges(policies.current?.bound, bound, nodes) ?? null
    return { version, problems: [], tests: read.tests.length, changes }
  }

  /** In force for everybody who is connected when this returns, unless a shard could not be reached. */
  async set({ text, cas, actor }: PolicyWrite): Promise<Result<MeshPolicySetReply, Refusal>> {
    const { policies } = this.#mesh
    if (cas !== policies.newest)
      return err(refusal('E_MESH_POLICY_CAS', `it is at version ${policies.newest}`))
    const document: MeshPolicyDocument = JSON.parse(text)
    const checked = this.#check(document)
    if (!checked.ok) return err(refusalOf(checked.error))
    const { version, classes } = this.#apply(document, actor, checked.value)
    await this.#mesh.publish({ heard: true, moved: false }, { urgent: true })
    return ok({ version, classes })
  }

  explain({ from, to, query }: PolicyQuestion): Result<MeshPolicyExplainReply, Refusal> {
    const source = this.#nodeByName(from)
    const target = to.includes('/') ? { network: to as Cidr } : this.#nodeByName(to as NodeName)
    if (source === undefined || target === undefined) {
      const missing = source === undefined ? from : to
      return err(refusal('E_NODE_NOT_FOUND', `there is no node ${missing}`))
    }
    const ends = { from: endOf(source), to: 'network' in target ? target : endOf(target) }
    const policy = this.#mesh.policies.current
    if (policy === undefined)
      return ok({
        version: 0,
        allowed: true,
        rule: null,
        reason: 'there is no policy: everything within the fleet is allowed',
        ports: ['any'],
        ...ends,
      })
    const { bound, version } = policy
    const place: Place = 'network' in target ? target : { node: bound.membershipOf(target) }
    const rule = allowingRule(bound, bound.membershipOf(source), place, query)
    const what = query === undefined ? '' : ` ${queryText(query)}`
    return ok({
      version,
      allowed: rule !== undefined,
      rule: rule ?? null,
      reason: rule === undefined ? `no rule allows it${what}` : `rules[${rule}] allows it${what}`,
      ports: portTexts(allowedPorts(bound, bound.membershipOf(source), place)),
      ...ends,
    })
  }

  #check(document: unknown): Result<Checked, PolicyProblem[]> {
    const read = readPolicy(document)
    if (!read.ok) return err(read.error)
    const nodes = this.#nodes()
    const byName = new Map(nodes.map((node) => [node.name, node.id]))
    const named = [...read.value.nodes]
    const missing = named.filter(([name]) => !byName.has(name))
    if (missing.length > 0)
      return err(
        missing.map(([name, at]) => ({ at, kind: 'node' as const, message: `there is no node ${name}` })),
      )
    const ids = new Map(named.flatMap(([name]) => entryOf(name, byName.get(name))))
    const bound = bindPolicy(read.value, ids)
    const problems = [...tooMuch(bound, nodes), ...runPolicyTests(read.value, bound, nodes)]
    return problems.length > 0 ? err(problems) : ok({ read: read.value, bound, ids, nodes })
  }

  /** The policy, every node's class under it, and whom that concerns: one transaction. */
  #apply(
    document: MeshPolicyDocument,
    actor: string,
    { ids }: Checked,
  ): { version: number; classes: number } {
    const { log, policies, classes, view } = this.#mesh
    if (classes.prune()) log.forget()
    const before = view.now
    return this.#sql.transaction(() => {
      const seq = log.record('', null)
      const policy = policies.add({ seq, document, actor, at: Date.now() }, ids)
      const touched = this.#reclassify(policy, seq)
      const { now } = view
      for (const audience of classes.ids) {
        const sees = now.seenBy(audience)
        const hears = sees === null || [...touched].some((other) => sees.has(other))
        if (hears || touched.has(audience) || isConcerned(audience, before, now)) log.concern(audience)
      }
      return { version: policy.version, classes: now.version === 0 ? 0 : this.#classesInUse() }
    })
  }

  /** @returns the classes that members have left or come into. */
  #reclassify({ bound }: PolicyVersion, seq: number): Set<number> {
    const { classes, log } = this.#mesh
    // Whoever no rule speaks of is of this class, which exists from the first policy on.
    classes.of(new Set(), seq)
    const rows = this.#sql.all<NodeRow>('SELECT * FROM nodes WHERE removed_at IS NULL')
    const placed = rows.map((row) => ({
      row,
      audience: classes.of(bound.membershipOf(policyNodeOf(row)), seq),
    }))
    const touched = new Set<number>()
    for (const { row, audience } of placed) {
      if (audience === row.class) continue
      this.#sql.run('UPDATE nodes SET class = ?, class_since = ? WHERE id = ?', audience, seq, row.id)
      const was = row.class ?? 0
      if (!isMember(row) || was === audience) continue
      log.record(row.id, was)
      this.#mesh.move(row.id, was, audience)
      touched.add(was).add(audience)
    }
    return touched
  }

  #classesInUse(): number {
    const counted = this.#sql.first<{ n: number }>(
      'SELECT COUNT(DISTINCT class) AS n FROM nodes WHERE removed_at IS NULL',
    )
    return counted?.n ?? 0
  }

  #nodes(): NamedNode[] {
    const rows = this.#sql.all<NodeRow>('SELECT * FROM nodes WHERE removed_at IS NULL ORDER BY name')
    return rows.map(namedNode)
  }

  #nodeByName(name: NodeName): NamedNode | undefined {
    const row = this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE name = ? AND removed_at IS NULL', name)
    return row && namedNode(row)
  }
}

/** What cannot be told to nodes in frames of a bounded size. */
function tooMuch(bound: BoundPolicy, nodes: readonly NamedNode[]): PolicyProblem[] {
  const memberships = new Map<string, Membership>()
  for (const node of nodes) {
    const membership = bound.membershipOf(node)
    memberships.set([...membership].join(' '), membership)
  }
  const problem = (message: string): PolicyProblem[] => [{ at: 'rules', kind: 'limit', message }]
  if (memberships.size > MAX_MESH_CLASSES)
    return problem(`it tells ${memberships.size} kinds of nodes apart, more than ${MAX_MESH_CLASSES}`)
  const compiled = compilePolicy(bound, new Map([...memberships.values()].entries()))
  const isTooLarge = [...memberships.keys()].some(
    (_, audience) => JSON.stringify(compiled.rulesOf(audience)).length > MAX_MESH_RULES_BYTES,
  )
  return isTooLarge
    ? problem('what one node would have to be told of it is too much; use tags and groups')
    : []
}

/** Every problem, one a line. */
function refusalOf(problems: readonly PolicyProblem[]): Refusal {
  const code = problems.every(({ kind }) => kind === 'test') ? 'E_MESH_POLICY_TEST' : 'E_MESH_POLICY_INVALID'
  return refusal(code, problems.map(({ at, message }) => `${at}: ${message}`).join('\n'))
}

const namedNode = (row: NodeRow): NamedNode => ({ ...policyNodeOf(row), name: row.name })
const endOf = ({ id, name, tags }: NamedNode) => ({ id, name, tags })
const entryOf = (name: NodeName, id: NodeId | undefined): [NodeName, NodeId][] =>
  id === undefined ? [] : [[name, id]]
const isoTime = (at: number): string => new Date(at).toISOString()
