/** The versions of the mesh policy that are kept, and which one was in force at a place of the log. */
import type { NodeId, NodeName } from '../protocol/ids.ts'
import { MESH_POLICY_KEEP } from '../protocol/limits.ts'
import type { MeshPolicyDocument } from '../protocol/mesh-policy.ts'
import { type BoundPolicy, bindPolicy } from '../protocol/mesh-policy-compile.ts'
import { type ReadPolicy, readPolicy } from '../protocol/mesh-policy-read.ts'
import type { Sql } from './sql.ts'

export interface PolicyVersion {
  readonly version: number
  readonly seq: number
  readonly document: MeshPolicyDocument
  readonly actor: string
  readonly at: number
  readonly read: ReadPolicy
  readonly bound: BoundPolicy
}

interface PolicyRow extends Record<string, string | number> {
  version: number
  seq: number
  document: string
  nodes: string
  actor: string
  at: number
}

export class MeshPolicies {
  readonly #sql: Sql
  readonly #known = new Map<number, PolicyVersion>()
  /** In order; a place of the log is looked up here. */
  #versions: { readonly version: number; readonly seq: number }[]

  constructor(sql: Sql) {
    this.#sql = sql
    this.#versions = sql.all('SELECT version, seq FROM mesh_policies ORDER BY version')
  }

  /** 0 before the first one. */
  get newest(): number {
    return this.#versions.at(-1)?.version ?? 0
  }

  get current(): PolicyVersion | undefined {
    return this.version(this.newest)
  }

  /** The version in force there, 0 for none; undefined if that is no longer known. */
  versionAt(seq: number): number | undefined {
    const version = this.#versions.findLast((one) => one.seq <= seq)?.version
    if (version !== undefined) return version
    return (this.#versions[0]?.version ?? 1) === 1 ? 0 : undefined
  }

  version(version: number): PolicyVersion | undefined {
    const known = this.#known.get(version)
    if (known !== undefined) return known
    const row = this.#sql.first<PolicyRow>('SELECT * FROM mesh_policies WHERE version = ?', version)
    if (row === undefined) return undefined
    const loaded = load(row)
    this.#known.set(version, loaded)
    return loaded
  }

  /** Newest first. */
  history(): PolicyVersion[] {
    return this.#versions.toReversed().flatMap(({ version }) => this.version(version) ?? [])
  }

  /** Call in the transaction that gives the nodes their new classes. */
  add(
    policy: Pick<PolicyVersion, 'seq' | 'document' | 'actor' | 'at'>,
    nodes: ReadonlyMap<NodeName, NodeId>,
  ): PolicyVersion {
    const version = this.newest + 1
    const { seq, document, actor, at } = policy
    this.#sql.run(
      'INSERT INTO mesh_policies (version, seq, document, nodes, actor, at) VALUES (?, ?, ?, ?, ?, ?)',
      version,
      seq,
      JSON.stringify(document),
      JSON.stringify([...nodes]),
      actor,
      at,
    )
    const oldest = version - MESH_POLICY_KEEP
    this.#sql.run('DELETE FROM mesh_policies WHERE version <= ?', oldest)
    this.#known.delete(oldest)
    this.#versions = [...this.#versions.filter((one) => one.version > oldest), { version, seq }]
    const added = this.version(version)
    if (added === undefined) throw new Error('a policy that was added is not there')
    return added
  }
}

function load({ document, nodes, ...row }: PolicyRow): PolicyVersion {
  const parsed: MeshPolicyDocument = JSON.parse(document)
  const read = readPolicy(parsed)
  if (!read.ok) throw new Error(`version ${row.version} of the mesh policy cannot be read`)
  const ids = new Map<NodeName, NodeId>(JSON.parse(nodes))
  return { ...row, document: parsed, read: read.value, bound: bindPolicy(read.value, ids) }
}
