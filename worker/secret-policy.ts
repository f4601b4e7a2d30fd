/** Who may read a secret. Pure; deny by default. */
import * as z from 'zod'
import { NodeId, NodeName, Tags } from '../protocol/ids.ts'

/** Nodes are kept by id: a name may pass to another machine, an identity cannot. The name is for people. */
export const StoredPolicy = z.object({
  allowTags: Tags,
  allowNodes: z.array(z.object({ id: NodeId, name: NodeName })),
})
export type StoredPolicy = z.infer<typeof StoredPolicy>

export type Verdict = { readonly allowed: boolean; readonly reason: string }

export function mayRead(policy: StoredPolicy, node: { readonly id: NodeId; readonly tags: Tags }): Verdict {
  if (policy.allowNodes.some(({ id }) => id === node.id)) return { allowed: true, reason: 'node is allowed' }
  const tag = policy.allowTags.find((allowed) => node.tags.includes(allowed))
  if (tag !== undefined) return { allowed: true, reason: `tag ${tag} is allowed` }
  return { allowed: false, reason: 'neither the node nor any of its tags is allowed' }
}
