/** The addresses of this machine's interfaces. Read by `ip`, because Node does not tell a bridge from a card. */
import * as z from 'zod'
import type { Commands } from './exec.ts'
import type { Cidr } from './ip-ranges.ts'
import { parseIpJson } from './link.ts'

const Interfaces = z.array(
  z.object({
    ifname: z.string().optional(),
    linkinfo: z.object({ info_kind: z.string().optional() }).optional(),
    addr_info: z
      .array(
        z.object({
          local: z.string().optional(),
          prefixlen: z.int().optional(),
          tentative: z.boolean().optional(),
          deprecated: z.boolean().optional(),
          dadfailed: z.boolean().optional(),
        }),
      )
      .default([]),
  }),
)

export interface LocalAddress extends Cidr {
  readonly iface: string
  /** `bridge`, `tun`, …; undefined for hardware. */
  readonly kind: string | undefined
}

/** Those in use: IPv6 addresses that are on their way in or out are left out. */
export async function readLocalAddresses(commands: Commands): Promise<LocalAddress[]> {
  const output = await commands.run('ip', ['-json', '-details', 'address', 'show', 'up'])
  return Interfaces.parse(parseIpJson(output)).flatMap(({ ifname = '', linkinfo, addr_info }) =>
    addr_info.flatMap(({ local, prefixlen, tentative, deprecated, dadfailed }) =>
      local === undefined || prefixlen === undefined || tentative || deprecated || dadfailed
        ? []
        : [{ iface: ifname, kind: linkinfo?.info_kind, address: local, prefix: prefixlen }],
    ),
  )
}
