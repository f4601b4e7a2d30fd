/**
 * The mesh policy as its owner writes it: JSON, because the gateway takes JSON everywhere, a document can be made and compared by any
 * program, and a comment that is worth keeping (`note`) should still be there when the document is read back.
 *
 * Whatever no rule allows is denied. Before the first policy everything within the fleet is allowed.
 */
import * as z from 'zod'
import {
  MAX_MESH_POLICY_GROUPS,
  MAX_MESH_POLICY_RULES,
  MAX_MESH_POLICY_SELECTORS,
  MAX_MESH_POLICY_TESTS,
} from './limits.ts'

const Words = z.array(z.string().max(256)).max(MAX_MESH_POLICY_SELECTORS)

const PolicyRule = z.strictObject({
  /** Who may begin: `*`, `tag:x`, `group:x`, `node:x`. */
  src: Words.min(1),
  /** Whom, and where: `tag:x:22,8000-8010`, `node:x:*`, `10.1.0.0/24:443`. */
  dst: Words.min(1),
  /** Without it tcp and udp where ports are named, and everything where they are not. */
  proto: z.enum(['tcp', 'udp', 'icmp', 'any']).optional(),
  note: z.string().max(256).optional(),
})

const PolicyTest = z.strictObject({
  from: z.string().max(256),
  to: z.string().max(256),
  /** `tcp:22`, `udp:53`, `icmp`. */
  accept: Words.optional(),
  deny: Words.optional(),
})

export const MeshPolicyDocument = z.strictObject({
  /** Members by `node:x` and `tag:x`. */
  groups: z
    .record(z.string().max(64), Words)
    .refine((groups) => Object.keys(groups).length <= MAX_MESH_POLICY_GROUPS, {
      message: `more than ${MAX_MESH_POLICY_GROUPS} groups`,
    })
    .optional(),
  rules: z.array(PolicyRule).max(MAX_MESH_POLICY_RULES),
  /** What must come out of it, or it is not taken. */
  tests: z.array(PolicyTest).max(MAX_MESH_POLICY_TESTS).optional(),
})
export type MeshPolicyDocument = z.infer<typeof MeshPolicyDocument>

export const PolicyProblemKind = z.enum(['form', 'selector', 'group', 'node', 'ports', 'limit', 'test'])
export type PolicyProblemKind = z.infer<typeof PolicyProblemKind>

/** One thing that is wrong, and where: `rules[2].dst[0]`. */
export const PolicyProblem = z.object({ at: z.string(), kind: PolicyProblemKind, message: z.string() })
export type PolicyProblem = z.infer<typeof PolicyProblem>

/** The steps to a place in the document, as one reads them. */
export const placeOf = (steps: readonly PropertyKey[]): string =>
  steps.reduce<string>((place, step) => {
    if (typeof step === 'number') return `${place}[${step}]`
    const word = String(step)
    if (!/^[\w-]+$/.test(word)) return `${place}[${JSON.stringify(word.slice(0, 64))}]`
    return place === '' ? word : `${place}.${word}`
  }, '') || 'policy'
