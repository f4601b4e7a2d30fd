/** /v1/mesh/policy: the policy and its versions as they cross the wire. */
import * as z from 'zod'
import { Cidr, NodeId, NodeName, Tags } from './ids.ts'
import { MeshPolicyDocument, PolicyProblem } from './mesh-policy.ts'
import { PolicyChanges } from './mesh-policy-changes.ts'

const Time = z.iso.datetime()

const VersionItem = z.object({ version: z.int().positive(), at: Time, actor: z.string(), rules: z.int() })

/** GET, `version` in the query for an older one. Without any policy the version is 0. */
export const MeshPolicyReply = z.object({
  version: z.int().nonnegative(),
  policy: MeshPolicyDocument.nullable(),
  at: Time.nullable(),
  actor: z.string().nullable(),
})
export type MeshPolicyReply = z.infer<typeof MeshPolicyReply>

/** PUT, with the version that it replaces as `cas` in the query. */
export const MeshPolicySetReply = z.object({
  version: z.int().positive(),
  /** Nodes that the policy tells apart. */
  classes: z.int().nonnegative(),
})
export type MeshPolicySetReply = z.infer<typeof MeshPolicySetReply>

/** GET /history, newest first. */
export const MeshPolicyHistory = z.object({ items: z.array(VersionItem) })
export type MeshPolicyHistory = z.infer<typeof MeshPolicyHistory>

/** POST /test */
export const MeshPolicyTestReply = z.object({
  /** The version it was compared with. */
  version: z.int().nonnegative(),
  problems: z.array(PolicyProblem),
  /** Tests in the document. */
  tests: z.int().nonnegative(),
  /** Null where there are problems, or the fleet is too motley for them to be worked out. */
  changes: PolicyChanges.nullable(),
})
export type MeshPolicyTestReply = z.infer<typeof MeshPolicyTestReply>

const End = z.object({ id: NodeId, name: NodeName, tags: Tags })

/** GET /explain */
export const MeshPolicyExplainReply = z.object({
  version: z.int().nonnegative(),
  allowed: z.boolean(),
  /** Index of the first rule that allows it; null if none does, or there is no policy. */
  rule: z.int().nonnegative().nullable(),
  reason: z.string(),
  /** All that is allowed from the one to the other, whatever was asked. */
  ports: z.array(z.string()),
  from: End,
  to: z.union([End, z.object({ network: Cidr })]),
})
export type MeshPolicyExplainReply = z.infer<typeof MeshPolicyExplainReply>
