/**
 * The routes on the mesh's interface beside the fleet's ranges: networks behind peers, and how large a packet to a peer may be. They have a
 * metric of their own, so that none takes the place of a route of the machine, and of two to one network the machine's counts.
 */
import { utf8 } from '../../crypto/bytes.ts'
import { CommandError, type Commands } from './exec.ts'
import { familyOf, parseCidr } from './ip-ranges.ts'
import type { Route } from './routes.ts'

const METRIC = 5182
/** IPv6 has no smaller packets (RFC 8200, section 5); below it TCP alone can be told, by its segments: 40 + 20 bytes of header. */
const IPV6_MIN_MTU = 1280
const TCP6_HEADER = 60

export interface WantedRoute {
  readonly network: string
  /** Undefined: the interface's own. */
  readonly mtu?: number | undefined
}

export class InterfaceRoutes {
  readonly #commands: Commands
  readonly #iface: string

  constructor(commands: Commands, iface: string) {
    this.#commands = commands
    this.#iface = iface
  }

  /** @param present all of this machine's. @returns why some are not as they should be. */
  async follow(wanted: readonly WantedRoute[], present: readonly Route[]): Promise<string | undefined> {
    const ours = present.filter(
      ({ dev, metric, table }) => dev === this.#iface && metric === METRIC && table === 'main',
    )
    const [target, actual] = [wanted.map(lineOf), ours.map(lineOfPresent)]
    const networks = new Set(wanted.map(({ network }) => keyOf(network)))
    const lines = [
      ...ours
        .filter(({ dst }) => !networks.has(keyOf(dst)))
        .map(({ dst }) => `route delete ${dst} ${this.#suffix}`),
      ...target
        .filter((line) => !actual.includes(line))
        .map((line) => `route replace ${line} ${this.#suffix}`),
    ]
    if (lines.length === 0) return undefined
    try {
      await this.#commands.run('ip', ['-force', '-batch', '-'], utf8(`${lines.join('\n')}\n`))
      return undefined
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      return `routes to peers: ${error.message}`
    }
  }

  get #suffix(): string {
    return `dev ${this.#iface} metric ${METRIC}`
  }
}

const keyOf = (network: string): string => {
  const { address, prefix } = parseCidr(network)
  return `${address}/${prefix}`
}

function lineOf({ network, mtu }: WantedRoute): string {
  if (mtu === undefined) return keyOf(network)
  const isIpv6 = familyOf(parseCidr(network).address) === 'ipv6'
  if (!isIpv6 || mtu >= IPV6_MIN_MTU) return `${keyOf(network)} mtu ${mtu}`
  return `${keyOf(network)} mtu ${IPV6_MIN_MTU} advmss ${mtu - TCP6_HEADER}`
}

function lineOfPresent({ dst, metrics = [] }: Route): string {
  const { mtu, advmss } = Object.assign({ mtu: undefined, advmss: undefined }, ...metrics) as {
    mtu?: number
    advmss?: number
  }
  return [
    keyOf(dst),
    ...(mtu === undefined ? [] : [`mtu ${mtu}`]),
    ...(advmss === undefined ? [] : [`advmss ${advmss}`]),
  ].join(' ')
}
