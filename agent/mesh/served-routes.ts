/** Networks behind this node that the mesh may reach through it: those it offers and its owner has approved, and only where it reaches them itself. */
import * as z from 'zod'
import type { Cidr } from '../../protocol/ids.ts'
import { canonicalNetwork } from '../../protocol/networks.ts'
import { CommandError, type Commands } from './exec.ts'
import { type Devices, Forwarding, type ForwardingNote } from './forwarding.ts'
import { familyOf, parseCidr } from './ip-ranges.ts'
import { parseIpJson } from './link.ts'

const Found = z.array(z.object({ dev: z.string().optional() }))

export interface ServedRoutes {
  readonly networks: readonly string[]
  /** The interfaces that lead there. */
  readonly devices: readonly Devices[]
  /** Those of them that forward only since we said so. */
  readonly opened: readonly Devices[]
  /** Why a network is not served; empty if all are. */
  readonly problems: readonly { readonly network: string; readonly problem: string }[]
}

const NOTHING: ServedRoutes = { networks: [], devices: [], opened: [], problems: [] }
const FAMILIES = ['ipv4', 'ipv6'] as const

interface Options {
  readonly commands: Commands
  readonly iface: string
  readonly offers: readonly Cidr[]
  readonly note: ForwardingNote
}

export class RouteServer {
  readonly #options: Options
  readonly #offers: readonly string[]
  readonly #forwarding: Forwarding

  constructor(options: Options) {
    this.#options = options
    this.#offers = options.offers.map(canonicalNetwork)
    this.#forwarding = new Forwarding(options.commands, options.note)
  }

  /** Changes nothing. @param approved by the owner of the fleet, as the gateway says: what is not offered here is not served either. */
  async plan(approved: readonly Cidr[]): Promise<ServedRoutes> {
    const wanted = approved.map(canonicalNetwork).filter((network) => this.#offers.includes(network))
    if (wanted.length === 0) return NOTHING
    const found = await Promise.all(
      wanted.map(async (network) => {
        const device = await this.#deviceTo(network)
        return {
          network,
          family: familyOf(parseCidr(network).address),
          ...(await this.#judge(network, device)),
        }
      }),
    )
    const served = found.filter(({ problem }) => problem === undefined)
    const devices = FAMILIES.map((family) => ({
      family,
      devices: [...new Set(served.filter((one) => one.family === family).map(({ device = '' }) => device))],
    }))
    return {
      networks: served.map(({ network }) => network),
      devices,
      opened: await Promise.all(
        devices.map(async (some) => ({ ...some, devices: await this.#forwarding.opened(some) })),
      ),
      problems: found.flatMap(({ network, problem }) =>
        problem === undefined ? [] : [{ network, problem }],
      ),
    }
  }

  /** Once the rules are in force. */
  async follow({ devices }: ServedRoutes): Promise<void> {
    await this.#forwarding.follow(
      FAMILIES.map((family) => {
        const some = devices.find((one) => one.family === family)?.devices ?? []
        return { family, devices: some.length === 0 ? [] : [...some, this.#options.iface] }
      }),
    )
  }

  stop(): Promise<void> {
    return this.follow(NOTHING)
  }

  async #judge(
    network: string,
    device: string | undefined,
  ): Promise<{ device?: string | undefined; problem?: string }> {
    if (device === undefined || device === this.#options.iface || device === 'lo')
      return { problem: 'this machine has no route to it' }
    const isIpv6 = familyOf(parseCidr(network).address) === 'ipv6'
    if (isIpv6 && !(await this.#forwarding.canForwardIpv6()))
      return { problem: 'this machine does not forward IPv6 (net.ipv6.conf.all.forwarding)' }
    return { device }
  }

  async #deviceTo(network: string): Promise<string | undefined> {
    try {
      const { address } = parseCidr(network)
      const output = await this.#options.commands.run('ip', ['-json', 'route', 'get', address])
      return Found.parse(parseIpJson(output))[0]?.dev
    } catch (error) {
      if (error instanceof CommandError) return undefined
      throw error
    }
  }
}
