/**
 * What this node lets through, and where it sends what: the rules of the policy in nftables, networks behind this node and behind its peers.
 * The order is what keeps it safe: rules before peers, peers before routes to what is behind them, forwarding only under rules.
 */
import { fleetIpv6Prefix, nodeIpv6 } from '../../protocol/addresses.ts'
import type { Cidr, FleetId, Ipv4, NodeId } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Commands } from './exec.ts'
import { Firewall } from './firewall.ts'
import type { ForwardingNote } from './forwarding.ts'
import { InterfaceRoutes, type WantedRoute } from './interface-routes.ts'
import { familyOf, parseCidr } from './ip-ranges.ts'
import type { MeshRules } from './map.ts'
import { type AcceptedRoutes, acceptRoutes, type RouteStatus } from './peer-routes.ts'
import type { RefusedPeer } from './refused-peers.ts'
import { type Route, readRoutes } from './routes.ts'
import { RouteServer, type ServedRoutes } from './served-routes.ts'
import { unrestrictedPeers } from './unrestricted-peers.ts'

/** Networks behind this node, as its configuration says. */
export interface OfferedRoutes {
  readonly offers: readonly Cidr[]
  readonly masquerade: boolean
  readonly note: ForwardingNote
}

interface Options {
  readonly fleet: { readonly id: FleetId; readonly ipv4Range: string }
  readonly self: { readonly id: NodeId; readonly ipv4: Ipv4 }
  readonly iface: string
  readonly commands: Commands
  readonly clock: Clock
  readonly log: Log
  readonly offered: OfferedRoutes
}

interface MapContent {
  readonly rules: MeshRules
  readonly peers: readonly MeshPeer[]
  /** Networks behind this node that its owner has approved. */
  readonly approved: readonly Cidr[]
}

export interface Admitted {
  readonly peers: readonly MeshPeer[]
  readonly refused: readonly RefusedPeer[]
}

/** A network behind this node, or behind another. */
export interface NodeRouteStatus extends Omit<RouteStatus, 'by'> {
  /** Null: behind this one. */
  readonly by: RouteStatus['by'] | null
}

const NO_ROUTES: AcceptedRoutes = { of: new Map(), status: [] }

export class Enforcement {
  readonly #options: Options
  readonly #firewall: Firewall
  readonly #server: RouteServer
  readonly #interfaceRoutes: InterfaceRoutes
  #served: ServedRoutes | undefined
  #accepted = NO_ROUTES
  #local: readonly Route[] = []
  /** An interface that was taken over may have routes of before. */
  #hasRoutes = true
  #problem: string | undefined

  constructor(options: Options) {
    this.#options = options
    const { commands, iface, offered } = options
    this.#firewall = new Firewall(options)
    this.#server = new RouteServer({ commands, iface, ...offered })
    this.#interfaceRoutes = new InterfaceRoutes(commands, iface)
  }

  /** Networks that lead into the tunnel, beside the fleet's own. */
  get networks(): readonly string[] {
    return [...this.#accepted.of.values()].flat()
  }

  get status(): readonly NodeRouteStatus[] {
    const { networks = [], problems = [] } = this.#served ?? {}
    const served = networks.map((network) => ({ network, by: null, problem: this.#problem ?? null }))
    const unserved = problems.map(({ network, problem }) => ({ network, by: null, problem }))
    return [...served, ...unserved, ...this.#accepted.status]
  }

  networksBehind(id: NodeId): readonly string[] {
    return this.#accepted.of.get(id) ?? []
  }

  /** Puts the rules in force. @returns the peers that may be on the interface now. */
  async admit({ rules, peers, approved }: MapContent): Promise<Admitted> {
    const { fleet, self, iface, offered, log } = this.#options
    const served = await this.#server.plan(approved)
    const problem = await this.#firewall.follow({
      iface,
      ipv4: self.ipv4,
      ipv6: nodeIpv6(fleet.id, self.id),
      fleet: [fleet.ipv4Range, fleetIpv6Prefix(fleet.id)],
      rules,
      peers: peers.map((peer) => ({
        addresses: [peer.ip4, nodeIpv6(fleet.id, peer.id)],
        class: peer.class ?? 0,
      })),
      routes: served.networks,
      masquerade: offered.masquerade,
      opened: served.opened,
    })
    if (problem !== undefined && problem !== this.#problem)
      log.warn('nothing filters what comes from the mesh', { problem })
    this.#problem = problem
    this.#served = served
    await (problem === undefined ? this.#server.follow(served) : this.#server.stop())
    return problem === undefined ? { peers, refused: [] } : unrestrictedPeers(peers, rules, problem)
  }

  /** Decides what of the peers' networks is routed to them. @param endpoints by which peers are reached now. */
  async chooseRoutes(peers: readonly MeshPeer[], endpoints: readonly string[]): Promise<void> {
    const { fleet, iface, commands } = this.#options
    const hasAny = peers.some(({ routes }) => routes !== undefined)
    this.#local = hasAny || this.#hasRoutes ? await readRoutes(commands) : []
    this.#accepted = hasAny
      ? acceptRoutes(peers, {
          iface,
          fleet: [fleet.ipv4Range, fleetIpv6Prefix(fleet.id)],
          local: this.#local,
          endpoints,
        })
      : NO_ROUTES
  }

  /** Once the peers are on the interface. @returns why a route is missing. */
  async setRoutes(
    peers: readonly MeshPeer[],
    mtuOf: (id: NodeId) => number | undefined,
    hasIpv6: boolean,
  ): Promise<string | undefined> {
    const { fleet, commands } = this.#options
    const wanted = peers.flatMap(({ id, ip4 }): WantedRoute[] => {
      const mtu = mtuOf(id)
      const own = mtu === undefined ? [] : [`${ip4}/32`, `${nodeIpv6(fleet.id, id)}/128`]
      return [...own, ...this.networksBehind(id)].map((network) => ({ network, mtu }))
    })
    const possible = wanted.filter(
      ({ network }) => hasIpv6 || familyOf(parseCidr(network).address) === 'ipv4',
    )
    if (possible.length === 0 && !this.#hasRoutes) return undefined
    const present = this.#local.length > 0 ? this.#local : await readRoutes(commands)
    const problem = await this.#interfaceRoutes.follow(possible, present)
    this.#hasRoutes = possible.length > 0 || problem !== undefined
    return problem
  }

  async stop(): Promise<void> {
    await this.#server.stop()
    await this.#firewall.remove()
  }
}
