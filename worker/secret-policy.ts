/** Policies on their way in: nodes are named by people, and kept by id. */

import type { NodeName } from '../protocol/ids.ts'
import { MAX_POLICY_TEXT } from '../protocol/limits.ts'
import { RefusedError } from '../protocol/refused-error.ts'
import { SecretPolicy, type StoredPolicy } from '../protocol/secret-policy.ts'
import { isTooLong } from '../secrets/lifecycle.ts'
import type { GatewayContext } from './context.ts'
import { callFleet } from './objects.ts'

export async function resolvePolicy(c: GatewayContext, policy: SecretPolicy): Promise<StoredPolicy> {
  const names = [...new Set(policy.rules.flatMap(({ nodes }) => nodes))]
  // Before they are looked up, which takes the registry some time each.
  if (names.join().length > MAX_POLICY_TEXT) throw tooLong()
  const nodes = new Map((await findNodes(c, names)).map((node) => [node.name, node]))
  const resolved = {
    rules: policy.rules.map((rule) => ({
      ...rule,
      nodes: rule.nodes.flatMap((name) => nodes.get(name) ?? []),
    })),
    expires: policy.expires,
  }
  if (isTooLong(resolved)) throw tooLong()
  return resolved
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

/** All of them in one call: a request may make only so many. */
async function findNodes(c: GatewayContext, names: readonly NodeName[]): Promise<StoredNode[]> {
  if (names.length === 0) return []
  const found = await callFleet(c, (fleet) => fleet.nodesByName(names))
  const missing = names.find((_, index) => found[index] === undefined)
  if (missing !== undefined) throw new RefusedError('E_NODE_NOT_FOUND', `there is no node ${missing}`)
  return found.flatMap((node) => node ?? [])
}

const tooLong = (): RefusedError => new RefusedError('E_BODY_INVALID', 'the policy is too long')

type StoredNode = StoredPolicy['rules'][number]['nodes'][number]
