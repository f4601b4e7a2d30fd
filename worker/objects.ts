/** The gateway's objects, as the Worker calls them. */
import { callObject, FLEET_OBJECT } from '../durable-objects/call-object.ts'
import type { Fleet } from '../durable-objects/fleet.ts'
import type { SessionShard } from '../durable-objects/session-shard.ts'
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
