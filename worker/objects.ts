/** The gateway's objects, as the Worker calls them. */
import { callObject, FLEET_OBJECT } from '../durable-objects/call-object.ts'
import type { Fleet } from '../durable-objects/fleet.ts'
import type { SessionShard } from '../durable-objects/session-shard.ts'
import type { Presence } from '../durable-objects/sessions.ts'
import type { NodeId } from '../protocol/ids.ts'
import { shardName } from '../protocol/shard.ts'
import type { GatewayContext } from './context.ts'

export const callFleet = <P>(
  c: GatewayContext,
  work: (fleet: DurableObjectStub<Fleet>) => P,
  options?: { readonly tries?: number },
): Promise<Awaited<P>> => callObject(c.env.FLEET, FLEET_OBJECT, work, options)

export const callShardOf = <P>(
  c: GatewayContext,
  node: NodeId,
  work: (shard: DurableObjectStub<SessionShard>) => P,
  options?: { readonly tries?: number },
): Promise<Awaited<P>> =>
  callObject(c.env.SESSION_SHARD, shardName(node, c.get('config').shards), work, options)

/** One call a shard, however many nodes there are. */
export async function presenceOf(
  c: GatewayContext,
  nodes: readonly { readonly id: NodeId }[],
): Promise<Map<NodeId, Presence>> {
  const byShard = Map.groupBy(nodes, ({ id }) => shardName(id, c.get('config').shards))
  const presences = await Promise.all(
    [...byShard].map(([shard, part]) =>
      callObject(c.env.SESSION_SHARD, shard, (stub) => stub.presence(part.map(({ id }) => id))),
    ),
  )
  return new Map(presences.flat().map((presence) => [presence.node, presence]))
}
