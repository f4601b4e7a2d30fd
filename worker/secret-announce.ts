/** Tells the nodes that may read a secret that it has changed. Best effort: a node that was not told asks when its job starts next. */
import { callObject, FLEET_OBJECT } from '../durable-objects/call-object.ts'
import type { Env } from '../durable-objects/env.ts'
import { shardName } from '../protocol/shard.ts'
import type { StoredSecret } from '../secrets/rows.ts'

export async function announceChange(env: Env, shards: number, secret: StoredSecret): Promise<void> {
  if (secret.policy.rules.length === 0) return
  const readers = await callObject(env.FLEET, FLEET_OBJECT, (fleet) => fleet.readers(secret.policy))
  const byShard = Map.groupBy(readers, ({ id }) => shardName(id, shards))
  const told = await Promise.allSettled(
    [...byShard].map(([shard, nodes]) =>
      callObject(env.SESSION_SHARD, shard, (stub) =>
        stub.announceSecret(
          nodes.map(({ id }) => id),
          secret.name,
          secret.version,
        ),
      ),
    ),
  )
  for (const result of told) {
    if (result.status === 'rejected')
      console.error({ event: 'announce_failed', secret: secret.name, error: String(result.reason) })
  }
}
