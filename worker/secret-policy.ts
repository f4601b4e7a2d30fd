/** Policies on their way in: nodes are named by people, and kept by id. */

import type { NodeName } from '../protocol/ids.ts'
import { SecretPolicy, type StoredPolicy } from '../protocol/secret-policy.ts'
import { type GatewayContext, RefusedError } from './context.ts'
import { callFleet } from './objects.ts'

export async function resolvePolicy(c: GatewayContext, policy: SecretPolicy): Promise<StoredPolicy> {
  const names = [...new Set(policy.rules.flatMap(({ nodes }) => nodes))]
  const nodes = new Map(await Promise.all(names.map(async (name) => [name, await nodeOf(c, name)] as const)))
  return {
    rules: policy.rules.map((rule) => ({
      ...rule,
      nodes: rule.nodes.flatMap((name) => nodes.get(name) ?? []),
    })),
    expires: policy.expires,
  }
}

/** `allow-tag` and `allow-node` of the query: one rule that allows those. Undefined if it names no reader. */
export async function policyOfQuery(c: GatewayContext): Promise<StoredPolicy | undefined> {
  const tags = c.req.queries('allow-tag')
  const nodes = c.req.queries('allow-node')
  if (tags === undefined && nodes === undefined) return undefined
  const policy = SecretPolicy.safeParse({ rules: [{ effect: 'allow', tags, nodes }] })
  if (!policy.success)
    throw new RefusedError('E_QUERY_INVALID', 'allow-tag or allow-node is not a tag or node name')
  return resolvePolicy(c, policy.data)
}

async function nodeOf(c: GatewayContext, name: NodeName): Promise<{ id: StoredNode['id']; name: NodeName }> {
  const node = await callFleet(c, (fleet) => fleet.nodeByName(name))
  if (node === undefined) throw new RefusedError('E_NODE_NOT_FOUND', `there is no node ${name}`)
  return { id: node.id, name }
}

type StoredNode = StoredPolicy['rules'][number]['nodes'][number]
