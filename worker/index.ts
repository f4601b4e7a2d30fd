/** The Worker's entry: the HTTP edge, the minute's sweep, and the Durable Objects it ships with. */
import { callObject, FLEET_OBJECT } from '../durable-objects/call-object.ts'
import { readConfig } from '../durable-objects/config.ts'
import type { Env } from '../durable-objects/env.ts'
import { deliverySealer, secretStores } from '../durable-objects/secret-stores.ts'
import { allShardNames } from '../protocol/shard.ts'
import { settleLost } from '../secrets/change.ts'
import { app } from './app.ts'

export { AuditLog } from '../durable-objects/audit-log.ts'
export { Fleet } from '../durable-objects/fleet.ts'
export { KeyRewrap } from '../durable-objects/key-rewrap.ts'
export { RelayShard } from '../durable-objects/relay-shard.ts'
export { SessionShard } from '../durable-objects/session-shard.ts'

export default {
  fetch: app.fetch,

  async scheduled(_controller: unknown, env, ctx): Promise<void> {
    const config = await readConfig(env)
    const { shards } = config
    deliverySealer.forgetOld(Date.now())
    ctx.waitUntil(settleLost(secretStores(env, config, (work) => ctx.waitUntil(work))))
    const places = await callObject(env.FLEET, FLEET_OBJECT, (fleet) => fleet.sweep())
    const names = allShardNames(shards)
    const swept = await Promise.allSettled(
      names.map((name) => callObject(env.SESSION_SHARD, name, (shard) => shard.sweep(places))),
    )
    swept.forEach((result, index) => {
      if (result.status === 'rejected')
        console.error({ event: 'sweep_failed', shard: names[index], error: String(result.reason) })
    })
  },
} satisfies ExportedHandler<Env>
