/** The machine's routes, and whether the fleet's ranges would get in their way. */
import * as z from 'zod'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { Commands } from './exec.ts'
import { overlap, parseCidr } from './ip-ranges.ts'
import { parseIpJson } from './link.ts'

const Routes = z.array(
  z.object({
    dst: z.string(),
    dev: z.string().optional(),
    gateway: z.string().optional(),
    type: z.string().default('unicast'),
    table: z.string().default('main'),
    metric: z.int().optional(),
    metrics: z.array(z.object({ mtu: z.int().optional(), advmss: z.int().optional() })).optional(),
  }),
)
export type Route = z.infer<typeof Routes>[number]

/** The tables every packet passes; others are reached by rules whose purpose we cannot know. */
const TABLES = ['main', 'local', 'default']
/** Such a route only says that nothing is there, and a narrower one may say otherwise. */
const REFUSING = ['blackhole', 'unreachable', 'prohibit', 'throw']
/** Wider than any network of one owner: a default route in parts, as VPNs set them. */
const NARROWEST_DEFAULT = 7

export async function readRoutes(commands: Commands): Promise<Route[]> {
  const outputs = await Promise.all(
    ['-4', '-6'].map((family) => commands.run('ip', [family, '-json', 'route', 'show', 'table', 'all'])),
  )
  return outputs.flatMap((output) => Routes.parse(parseIpJson(output)))
}

/** The first route of another interface that overlaps one of the ranges. */
export function findConflict(
  routes: readonly Route[],
  fleet: readonly string[],
  iface: string,
): Route | undefined {
  return routes.find(({ dst, dev, type, table }) => {
    if (dst === 'default' || dev === iface || !TABLES.includes(table)) return false
    const route = parseCidr(dst)
    if (route.prefix <= NARROWEST_DEFAULT || type === 'multicast') return false
    return fleet.map(parseCidr).some((range) => {
      if (REFUSING.includes(type) && route.prefix < range.prefix) return false
      return overlap(route, range)
    })
  })
}

/** As `ip route` shows it. */
export function routeText({ dst, dev, gateway, type }: Route): string {
  const via = [
    ...(gateway === undefined ? [] : [`via ${gateway}`]),
    ...(dev === undefined ? [] : [`dev ${dev}`]),
  ]
  return [...(type === 'unicast' ? [] : [type]), dst, ...via].join(' ')
}

export function routeConflict(route: Route, fleet: readonly string[]): UserError {
  return new UserError({
    code: 'E_ROUTE_CONFLICT',
    message: `this machine already uses addresses of the fleet's range ${fleet.join(' or ')}`,
    why: `it has the route ${routeText(route)}`,
    fix: 'remove that route, found a fleet with another FLEET_CIDR, or run with --no-mesh',
    exitCode: EXIT.conflict,
  })
}
