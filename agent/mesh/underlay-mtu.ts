/** What this machine knows by itself of how large a packet to an endpoint may be: of its interface, its routes, and what routers have told it. */
import * as z from 'zod'
import { CommandError, type Commands } from './exec.ts'
import { INTERFACE_MTU } from './interface.ts'
import { type Family, familyOf } from './ip-ranges.ts'
import { parseIpJson } from './link.ts'

/** WireGuard's own 32 bytes, UDP's 8, and the outer header. */
const OVERHEAD = { ipv4: 60, ipv6: 80 } as const

/** WireGuard fills a packet that is smaller than its interface's up to whole blocks. */
const PADDING = 16

const Found = z.array(
  z.object({
    dev: z.string().optional(),
    metrics: z.array(z.object({ mtu: z.int().optional() })).optional(),
  }),
)
const Links = z.array(z.object({ mtu: z.int() }))

/** What is left inside the tunnel; undefined if nothing is known. @param address of the endpoint, without its port. */
export async function innerMtuTo(commands: Commands, address: string): Promise<number | undefined> {
  const ask = async (...args: string[]) => parseIpJson(await commands.run('ip', ['-json', ...args]))
  try {
    const [route] = Found.parse(await ask('route', 'get', address))
    if (route?.dev === undefined) return undefined
    const [link] = Links.parse(await ask('link', 'show', 'dev', route.dev))
    const known = [link?.mtu, ...(route.metrics ?? []).map(({ mtu }) => mtu)].filter(
      (mtu) => mtu !== undefined,
    )
    return known.length === 0 ? undefined : within(Math.min(...known), familyOf(address))
  } catch (error) {
    if (error instanceof CommandError) return undefined
    throw error
  }
}

function within(outer: number, family: Family): number {
  const rest = outer - OVERHEAD[family]
  return rest >= INTERFACE_MTU ? INTERFACE_MTU : rest - (rest % PADDING)
}
