/** Networks behind nodes in the Fleet's SQLite: what each offers, and what of it is approved. No two nodes are the way to one address. */
import { fleetIpv6Prefix } from '../protocol/addresses.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import { Cidr, type FleetId, type NodeId, type NodeName } from '../protocol/ids.ts'
import { MAX_NODE_ROUTES } from '../protocol/limits.ts'
import { canonicalNetwork, isPrivateNetwork, networksOverlap } from '../protocol/networks.ts'
import type { NodeRoutes, RouteChange } from '../protocol/node-routes.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { FleetParts } from './fleet-parts.ts'
import type { NodeRow } from './fleet-schema.ts'
import type { Sql } from './sql.ts'

type RoutesRow = Pick<NodeRow, 'offers' | 'approved_routes'>

const parse = (text: string): Cidr[] => Cidr.array().parse(JSON.parse(text))

/** What is both offered and approved is a route. */
export function routesOf({ offers, approved_routes }: RoutesRow): Cidr[] {
  // Nearly every node has none: a snapshot of thousands should not parse for it.
  if (approved_routes === '[]' || offers === '[]') return []
  const offered = parse(offers)
  return parse(approved_routes).filter((network) => offered.includes(network))
}

export class RoutesOfNodes {
  readonly #fleet: FleetParts

  constructor(fleet: FleetParts) {
    this.#fleet = fleet
  }

  of(id: NodeId): NodeRoutes | undefined {
    const row = this.#fleet.nodes.row(id)
    return row && nodeRoutes(row)
  }

  /** Networks behind the node that are both offered and approved. */
  routedTo(id: NodeId): Cidr[] {
    const row = this.#fleet.nodes.row(id)
    return row === undefined ? [] : routesOf(row)
  }

  async change(id: NodeId, change: RouteChange): Promise<Result<NodeRoutes, Refusal>> {
    const { id: fleet, env, sql, nodes } = this.#fleet
    const row = nodes.memberRow(id)
    if (row === undefined) return err(refusal('E_NODE_NOT_FOUND'))
    const approved = changeRoutes(sql, row, change, { id: fleet, ipv4Range: env.FLEET_CIDR })
    if (!approved.ok) return approved
    return ok(nodeRoutes(await this.#set(row, { approved_routes: JSON.stringify(approved.value) })))
  }

  /** What the node says when a session begins. */
  async offer(row: NodeRow, networks: readonly Cidr[]): Promise<void> {
    const offers = offersText(networks)
    if (row.offers !== offers) await this.#set(row, { offers })
  }

  /** Peers hear of it if what is routed is another now, and so does the node. */
  async #set(row: NodeRow, change: Partial<RoutesRow>): Promise<NodeRow> {
    const { sql, mesh, shards } = this.#fleet
    const after = { ...row, ...change }
    const heard = mesh.change(row.id, () =>
      sql.run(
        'UPDATE nodes SET offers = ?, approved_routes = ? WHERE id = ?',
        after.offers,
        after.approved_routes,
        row.id,
      ),
    )
    void mesh.publish(heard)
    if (change.approved_routes !== undefined)
      await shards.call(row.id, (shard) => shard.tellRoutes(row.id, routesOf(after)))
    return after
  }
}

const nodeRoutes = ({ offers, approved_routes }: RoutesRow): NodeRoutes => ({
  offered: parse(offers),
  approved: parse(approved_routes),
})

/** The row's text for what a node says it offers. */
const offersText = (offers: readonly Cidr[]): string =>
  JSON.stringify([...new Set(offers.map(canonicalNetwork))].sort())

/** @returns what would be approved then. Changes nothing. */
function changeRoutes(
  sql: Sql,
  node: RoutesRow & { readonly id: NodeId },
  change: RouteChange,
  fleet: { readonly id: FleetId; readonly ipv4Range: string },
): Result<Cidr[], Refusal> {
  const { offered, approved } = nodeRoutes(node)
  const withdrawn = change.withdraw.map(canonicalNetwork)
  const wanted = change.approve.map(canonicalNetwork)
  const kept = approved.filter((network) => !withdrawn.includes(network))
  const others = approvedElsewhere(sql, node.id)
  for (const network of wanted) {
    if (!isPrivateNetwork(network)) return err(refusal('E_ROUTE_NETWORK', network))
    if (!offered.includes(network) && !approved.includes(network))
      return err(refusal('E_ROUTE_NOT_OFFERED', network))
    if ([fleet.ipv4Range, fleetIpv6Prefix(fleet.id)].some((range) => networksOverlap(range, network)))
      return err(refusal('E_ROUTE_OVERLAP', `${network} overlaps the fleet's own range`))
    const holder = others.find((other) => networksOverlap(other.network, network))
    if (holder !== undefined)
      return err(refusal('E_ROUTE_OVERLAP', `${network} overlaps ${holder.network} behind ${holder.name}`))
  }
  const result = [...new Set([...kept, ...wanted])]
  return result.length > MAX_NODE_ROUTES ? err(refusal('E_TOO_MANY_ROUTES')) : ok(result)
}

function approvedElsewhere(sql: Sql, id: NodeId): { readonly network: Cidr; readonly name: NodeName }[] {
  const rows = sql.all<{ name: NodeName; approved_routes: string }>(
    "SELECT name, approved_routes FROM nodes WHERE approved_routes <> '[]' AND removed_at IS NULL AND id <> ?",
    id,
  )
  return rows.flatMap(({ name, approved_routes }) =>
    parse(approved_routes).map((network) => ({ network, name })),
  )
}
