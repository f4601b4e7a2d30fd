/** Who hears of whom, now and at an earlier place of the log: the policy and the classes of that time, compiled. */
import type { MeshRule } from '../protocol/mesh.ts'
import { type CompiledPolicy, compilePolicy } from '../protocol/mesh-policy-compile.ts'
import type { MeshClasses } from './mesh-classes.ts'
import type { MeshPolicies } from './mesh-policies.ts'

/** What is compiled is kept for the newest and for the few places that nodes come back from. */
const MAX_COMPILED = 16

export interface Relation {
  /** 0: no policy, everybody hears of everybody. */
  readonly version: number
  sees(audience: number, other: number): boolean
  /** Null without a policy. */
  rulesOf(audience: number): readonly MeshRule[] | null
  /** All that this class sees; null: everybody. */
  seenBy(audience: number): ReadonlySet<number> | null
}

const OPEN: Relation = { version: 0, sees: () => true, rulesOf: () => null, seenBy: () => null }

export class MeshView {
  readonly #policies: MeshPolicies
  readonly #classes: MeshClasses
  readonly #compiled = new Map<string, Relation>()

  constructor(policies: MeshPolicies, classes: MeshClasses) {
    this.#policies = policies
    this.#classes = classes
  }

  get now(): Relation {
    return this.at(Number.MAX_SAFE_INTEGER) ?? OPEN
  }

  /** Whether a policy is in force from this very place on. */
  beginsAt(seq: number): boolean {
    return this.#policies.versionAt(seq) !== this.#policies.versionAt(seq - 1)
  }

  /** As it was there; undefined if that is no longer known. */
  at(seq: number): Relation | undefined {
    const version = this.#policies.versionAt(seq)
    if (version === undefined || version === 0) return version === 0 ? OPEN : undefined
    const policy = this.#policies.version(version)
    if (policy === undefined) return undefined
    const classes = this.#classes.upTo(seq)
    const key = `${version} ${[...classes.keys()].at(-1)} ${classes.size}`
    const known = this.#compiled.get(key) ?? relationOf(version, compilePolicy(policy.bound, classes))
    this.#compiled.delete(key)
    this.#compiled.set(key, known)
    const [oldest] = this.#compiled.keys()
    if (this.#compiled.size > MAX_COMPILED && oldest !== undefined) this.#compiled.delete(oldest)
    return known
  }
}

const relationOf = (version: number, compiled: CompiledPolicy): Relation => ({
  version,
  sees: (audience, other) => compiled.sees(audience).has(other),
  rulesOf: compiled.rulesOf,
  seenBy: compiled.sees,
})

export const sameRules = (a: readonly MeshRule[] | null, b: readonly MeshRule[] | null): boolean =>
  a === b || JSON.stringify(a) === JSON.stringify(b)
