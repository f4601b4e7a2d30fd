/** GET /metrics: what the gateway has done, in Prometheus' text format. */
import { Hono } from 'hono'
import { AUDIT_OBJECT, callObject, FLEET_OBJECT } from '../../durable-objects/call-object.ts'
import type { CounterName, Counters } from '../../durable-objects/counters.ts'
import { allShardNames } from '../../protocol/shard.ts'
import { countDue } from '../../secrets/rows.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { requireRole } from '../middleware/require-role.ts'

export const metricRoutes = new Hono<GatewayEnv>().get('/', requireRole('viewer'), async (c) => {
  const [counters, due] = await Promise.all([collect(c), countDue(c.env.DB, Date.now())])
  const lines = Object.entries(counters).flatMap(([name, value]) => [
    `# TYPE claw_gateway_${name}_total counter`,
    `claw_gateway_${name}_total ${value}`,
  ])
  lines.push('# TYPE claw_gateway_secrets_due gauge', `claw_gateway_secrets_due ${due}`)
  return c.text(`${lines.join('\n')}\n`)
})

/** Objects of one isolate share their counters: each isolate counts once. */
async function collect(c: GatewayContext): Promise<Counters> {
  const readings = await Promise.all([
    callObject(c.env.FLEET, FLEET_OBJECT, (fleet) => fleet.counters()),
    callObject(c.env.AUDIT_LOG, AUDIT_OBJECT, (log) => log.counters()),
    ...allShardNames(c.var.config.shards).map((name) =>
      callObject(c.env.SESSION_SHARD, name, (shard) => shard.counters()),
    ),
  ])
  const isolates = new Map(readings.map(({ isolate, counters }) => [isolate, counters]))
  const [first, ...rest] = isolates.values()
  const sum = { ...first } as Record<CounterName, number>
  for (const counters of rest)
    for (const [name, value] of Object.entries(counters)) sum[name as CounterName] += value
  return sum
}
