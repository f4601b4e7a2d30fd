/** What may change of a node that stays: its tags, its address, and what it says of itself when a session begins. */
import { ipv4ToNumber, parseIpv4Range } from '../protocol/addresses.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { Ipv4, NodeId, Tags } from '../protocol/ids.ts'
import { MAX_TAGS } from '../protocol/limits.ts'
import { changeTags, type TagChange } from '../protocol/node-tags.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { moveAddress } from './address-leases.ts'
import type { FleetParts } from './fleet-parts.ts'
import type { NodeRow } from './fleet-schema.ts'

const ADDRESS_REFUSALS = {
  outside: 'E_ADDRESS_OUTSIDE',
  taken: 'E_ADDRESS_TAKEN',
  resting: 'E_ADDRESS_RESTING',
} as const

export class NodeAttributes {
  readonly #fleet: FleetParts

  constructor(fleet: FleetParts) {
    this.#fleet = fleet
  }

  /** Which secrets the node may read follows from its tags: its shard has forgotten the old ones when this returns. */
  async setTags(id: NodeId, change: TagChange): Promise<Result<Tags, Refusal>> {
    const { sql, nodes, mesh, shards } = this.#fleet
    const node = nodes.get(id)
    if (node === undefined || node.removed) return err(refusal('E_NODE_NOT_FOUND'))
    const tags = changeTags(node.tags, change)
    if (tags.length > MAX_TAGS) return err(refusal('E_TOO_MANY_TAGS'))
    const text = JSON.stringify(tags)
    if (text !== JSON.stringify(node.tags))
      void mesh.publish(mesh.change(id, () => sql.run('UPDATE nodes SET tags = ? WHERE id = ?', text, id)))
    // Also when nothing has changed: it may be the second try of one whose shard did not answer.
    await shards.call(id, (shard) => shard.forget(id))
    return ok(tags)
  }

  /** Gives the node another address; it hears of it with its next session, which begins at once. */
  async setAddress(id: NodeId, ip4: Ipv4): Promise<Result<Ipv4, Refusal>> {
    const { env, sql, nodes, mesh, shards } = this.#fleet
    const row = nodes.memberRow(id)
    const range = parseIpv4Range(env.FLEET_CIDR)
    if (row === undefined || range === undefined) return err(refusal('E_NODE_NOT_FOUND'))
    const to = ipv4ToNumber(ip4)
    const change = mesh.change(id, () => {
      const problem = moveAddress(sql, range, { node: id, from: row.ipv4, to, now: Date.now() })
      if (problem === undefined) sql.run('UPDATE nodes SET ipv4 = ? WHERE id = ?', to, id)
      return problem
    })
    if (change.done !== undefined) return err(refusal(ADDRESS_REFUSALS[change.done]))
    void mesh.publish(change)
    await shards.call(id, (shard) => shard.restart(id))
    return ok(ip4)
  }

  /** Writes a row only if the node is not as it was. */
  noteSession(
    row: NodeRow,
    { agent, mesh: isOfMesh }: { readonly agent: string; readonly mesh: boolean },
  ): void {
    const { sql, mesh } = this.#fleet
    const flag = isOfMesh ? 1 : 0
    if (row.agent === agent && row.mesh === flag) return
    void mesh.publish(
      mesh.change(row.id, () =>
        sql.run('UPDATE nodes SET agent = ?, mesh = ? WHERE id = ?', agent, flag, row.id),
      ),
    )
  }
}
