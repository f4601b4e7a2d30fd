/**
 * Who may read a secret: a list of rules, of which one that denies always wins, and without one that allows nobody reads. Pure.
 *
 * A rule names readers (`nodes`, `tags`: any of them) and may narrow that to `workloads`, the names jobs give themselves: a node's word,
 * so it separates the jobs of an honest node and protects nothing from a hostile one. `roles` are people's. An administrator may always
 * read, also after the policy's end, because somebody must be able to mend it (X20); such a read is marked in the trail.
 */
import * as z from 'zod'
import type { ErrorCode } from './errors.ts'
import { type NodeId, NodeName, Tags } from './ids.ts'
import { MAX_POLICY_RULES, MAX_RULE_NODES } from './limits.ts'
import { Role } from './roles.ts'

export const WorkloadName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'a workload is 1 to 63 of a-z 0-9 . _ -')
  .brand<'WorkloadName'>()
export type WorkloadName = z.infer<typeof WorkloadName>

const Time = z.iso.datetime()

export const PolicyRule = z.strictObject({
  effect: z.enum(['allow', 'deny']),
  nodes: z.array(NodeName).max(MAX_RULE_NODES).default([]),
  tags: Tags.default([]),
  workloads: z.array(WorkloadName).max(MAX_RULE_NODES).default([]),
  roles: z.array(Role).max(3).default([]),
  /** From then on the rule is as if it were not there. */
  expires: Time.nullable().default(null),
})
export type PolicyRule = z.infer<typeof PolicyRule>

export const SecretPolicy = z.strictObject({
  rules: z.array(PolicyRule).max(MAX_POLICY_RULES).default([]),
  /** From then on only administrators read. */
  expires: Time.nullable().default(null),
})
export type SecretPolicy = z.infer<typeof SecretPolicy>

/** As stored: nodes by id, since a name may pass to another machine and an identity cannot; the names are for people. */
export interface StoredRule extends Omit<PolicyRule, 'nodes'> {
  readonly nodes: readonly { readonly id: NodeId; readonly name: NodeName }[]
}
export interface StoredPolicy {
  readonly rules: readonly StoredRule[]
  readonly expires: string | null
}

export const NOBODY: StoredPolicy = { rules: [], expires: null }

export interface Reader {
  readonly id: NodeId
  readonly tags: Tags
  readonly workload?: WorkloadName | undefined
}

export type Verdict =
  | { readonly allowed: true; readonly reason: string; readonly rule?: number }
  | { readonly allowed: false; readonly code: ErrorCode; readonly reason: string; readonly rule?: number }

export function mayRead(policy: StoredPolicy, reader: Reader, now: number): Verdict {
  if (ended(policy.expires, now))
    return deny('E_SECRET_POLICY_EXPIRED', `the policy expired on ${policy.expires}`)
  const denying = policy.rules.findIndex(
    (rule) => rule.effect === 'deny' && !ended(rule.expires, now) && matches(rule, reader),
  )
  if (denying >= 0) return deny('E_SECRET_DENY_RULE', `rule ${denying} denies`, denying)
  const allowing = policy.rules.findIndex(
    (rule) => rule.effect === 'allow' && !ended(rule.expires, now) && matches(rule, reader),
  )
  if (allowing >= 0) return allow(`rule ${allowing} allows ${why(policy.rules[allowing], reader)}`, allowing)
  return deny(...nearest(policy, reader, now))
}

/**
 * Tells of nodes whether some job of theirs might read: who hears of a change, and whom a sealed value is encrypted to. It is asked about a
 * whole fleet, in the one object that everybody waits for: what holds for nodes that the same rules speak of is found out once.
 */
export function mightRead(policy: StoredPolicy, now: number): (node: Omit<Reader, 'workload'>) => boolean {
  const current = ended(policy.expires, now) ? [] : policy.rules.filter((rule) => !ended(rule.expires, now))
  const known = new Map<string, boolean>()
  return (node) => {
    const spoken = current.map((rule) => speaksOf(rule, node))
    const key = spoken.map(Number).join('')
    const answer = known.get(key) ?? allowsSomeJob(current.filter((_, index) => spoken[index]))
    known.set(key, answer)
    return answer
  }
}

/** @param rules that are in force and speak of the node. */
function allowsSomeJob(rules: readonly StoredRule[]): boolean {
  const [allowing, denying] = [
    rules.filter(({ effect }) => effect === 'allow'),
    rules.filter(({ effect }) => effect === 'deny'),
  ]
  if (denying.some(isOfEveryJob)) return false
  // A job without a name is denied by none of those that name jobs.
  if (allowing.some(isOfEveryJob)) return true
  const denied = new Set(denying.flatMap(({ workloads }) => workloads))
  return allowing.some(({ workloads }) => workloads.some((workload) => !denied.has(workload)))
}

/** A person below administrator: only where a rule names their role. */
export function mayPersonRead(policy: StoredPolicy, role: Role, now: number): Verdict {
  if (role === 'admin')
    return allow(ended(policy.expires, now) ? 'administrator, though the policy expired' : 'administrator')
  if (ended(policy.expires, now))
    return deny('E_SECRET_POLICY_EXPIRED', `the policy expired on ${policy.expires}`)
  const current = policy.rules
    .map((rule, index) => ({ rule, index }))
    .filter(({ rule }) => !ended(rule.expires, now))
  const named = current.filter(({ rule }) => rule.roles.includes(role))
  const denying = named.find(({ rule }) => rule.effect === 'deny')
  if (denying !== undefined)
    return deny('E_SECRET_DENY_RULE', `rule ${denying.index} denies the role ${role}`, denying.index)
  const allowing = named.find(({ rule }) => rule.effect === 'allow')
  return allowing === undefined
    ? deny('E_ROLE_DENIED', `no rule allows the role ${role}`)
    : allow(`rule ${allowing.index} allows the role ${role}`, allowing.index)
}

const matches = (rule: StoredRule, reader: Reader): boolean =>
  speaksOf(rule, reader) && matchesWorkload(rule, reader)

/** A rule with neither nodes nor tags speaks of every node if it names workloads, and of none if it does not. */
const speaksOf = (rule: StoredRule, node: Omit<Reader, 'workload'>): boolean =>
  isOfEveryNode(rule) ? !isOfEveryJob(rule) : matchesNode(rule, node)

const matchesNode = (rule: StoredRule, { id, tags }: Omit<Reader, 'workload'>): boolean =>
  rule.nodes.some((node) => node.id === id) || rule.tags.some((tag) => tags.includes(tag))

const matchesWorkload = (rule: StoredRule, { workload }: Reader): boolean =>
  isOfEveryJob(rule) || (workload !== undefined && rule.workloads.includes(workload))

function why(rule: StoredRule | undefined, { id, tags }: Reader): string {
  const tag = rule?.tags.find((allowed) => tags.includes(allowed))
  if (rule?.nodes.some((node) => node.id === id)) return 'the node'
  return tag === undefined ? 'the workload' : `the tag ${tag}`
}

/** Which of the reasons a reader was not allowed says most: what came nearest to allowing it. */
function nearest(policy: StoredPolicy, reader: Reader, now: number): [ErrorCode, string] {
  const allowing = policy.rules.filter(({ effect }) => effect === 'allow')
  const current = allowing.filter((rule) => !ended(rule.expires, now))
  if (allowing.some((rule) => ended(rule.expires, now) && matches(rule, reader)))
    return ['E_SECRET_POLICY_EXPIRED', 'the rule that allowed it expired']
  const others = current.some(
    (rule) => rule.workloads.length > 0 && (matchesNode(rule, reader) || isOfEveryNode(rule)),
  )
  if (others) return ['E_SECRET_WORKLOAD', 'no rule allows this workload']
  if (current.some(({ tags }) => tags.length > 0))
    return ['E_SECRET_TAG', 'no rule allows the node or any of its tags']
  return ['E_SECRET_DENIED', 'no rule allows the node']
}

const isOfEveryNode = ({ nodes, tags }: StoredRule): boolean => nodes.length + tags.length === 0
const isOfEveryJob = ({ workloads }: StoredRule): boolean => workloads.length === 0

const ended = (expires: string | null, now: number): boolean => expires !== null && Date.parse(expires) <= now

const allow = (reason: string, rule?: number): Verdict => ({
  allowed: true,
  reason,
  ...(rule !== undefined && { rule }),
})

const deny = (code: ErrorCode, reason: string, rule?: number): Verdict => ({
  allowed: false,
  code,
  reason,
  ...(rule !== undefined && { rule }),
})
