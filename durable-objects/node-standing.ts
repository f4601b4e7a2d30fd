/**
 * Whether a node may take part: it may be removed for good, or held until it is released. Its shard, its peers and the relay are told at once;
 * what fails then is tried again until they have heard.
 */
import { ipv4ToNumber } from '../protocol/addresses.ts'
import type { NodeId, NodeName } from '../protocol/ids.ts'
import { releaseAddress } from './address-leases.ts'
import type { FleetParts } from './fleet-parts.ts'
import type { NodeRecord } from './node-record.ts'
import { cutRelayed } from './relays.ts'

export class NodeStanding {
  readonly #fleet: FleetParts

  constructor(fleet: FleetParts) {
    this.#fleet = fleet
  }

  /** Removes the node everywhere: its identity is refused from now on, its socket is cut, and its peers hear of it at once. */
  async remove(name: NodeName): Promise<NodeRecord | undefined> {
    const node = this.#fleet.nodes.byName(name)
    if (node !== undefined) await this.#remove(node)
    return node
  }

  /** The same, by the node's own wish: its name may be another's by now. @returns whether it was still there. */
  async leave(id: NodeId): Promise<boolean> {
    const node = this.#fleet.nodes.get(id)
    if (node === undefined || node.removed) return false
    await this.#remove(node)
    return true
  }

  /** Holds a node: its sessions end, its requests are refused, and its peers drop it, until it is released (`reason` null). */
  async hold(id: NodeId, reason: string | null): Promise<void> {
    const { sql, nodes } = this.#fleet
    if (nodes.memberRow(id) === undefined) return
    await this.#change(id, () => sql.run('UPDATE nodes SET quarantine = ? WHERE id = ?', reason, id))
  }

  /** Finishes what could not be finished at once. */
  async settleAll(): Promise<void> {
    const unsettled = this.#fleet.sql.all<{ node_id: NodeId }>('SELECT node_id FROM unsettled LIMIT 100')
    for (const { node_id } of unsettled) await this.#settle(node_id)
  }

  #remove({ id, ipv4 }: NodeRecord): Promise<void> {
    const { sql } = this.#fleet
    const now = Date.now()
    return this.#change(id, () => {
      sql.run('UPDATE nodes SET removed_at = ?, mesh = 0 WHERE id = ?', now, id)
      releaseAddress(sql, ipv4ToNumber(ipv4), now)
    })
  }

  async #change(id: NodeId, work: () => void): Promise<void> {
    const { sql, mesh } = this.#fleet
    mesh.change(id, () => {
      work()
      sql.run('INSERT INTO unsettled (node_id) VALUES (?) ON CONFLICT DO NOTHING', id)
    })
    await this.#settle(id)
  }

  /** Tells the node's shard and peers what the registry says. */
  async #settle(id: NodeId): Promise<void> {
    const { env, sql, nodes, mesh, shards } = this.#fleet
    const node = nodes.get(id)
    if (node === undefined) return
    await Promise.all([
      shards.call(id, (shard) => {
        if (node.removed) return shard.revoke(id)
        return node.quarantine === undefined ? shard.welcomeBack(id) : shard.hold(id)
      }),
      mesh.publish({ heard: true, moved: false }, { urgent: true }),
      cutRelayed(env, node),
    ])
    sql.run('DELETE FROM unsettled WHERE node_id = ?', id)
  }
}
