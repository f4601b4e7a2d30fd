/**
 * Devices of the mesh that have no agent: a phone with a plain WireGuard configuration. To the mesh they are like nodes, with an address, tags and
 * a place in the log, and so their rows are among the nodes'. To everything else they are none: there is no key by which one could prove
 * itself, and whoever looks for nodes, above all for those that may read a secret, looks for rows that are not `external`.
 */
import { externalPeerIdOf } from '../crypto/node-id.ts'
import { ipv4ToNumber, nodeIpv6, numberToIpv4, parseIpv4Range } from '../protocol/addresses.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import {
  type FleetId,
  type Ipv4,
  type Ipv6,
  type NodeId,
  type NodeName,
  Tags,
  type WireGuardKey,
} from '../protocol/ids.ts'
import { MAX_EXTERNAL_PEERS } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { leaseAddress, releaseAddress } from './address-leases.ts'
import type { FleetParts } from './fleet-parts.ts'
import type { NodeRow } from './fleet-schema.ts'

export interface ExternalPeer {
  readonly id: NodeId
  readonly name: NodeName
  readonly wg: WireGuardKey
  readonly ipv4: Ipv4
  readonly ipv6: Ipv6
  readonly tags: Tags
  readonly createdAt: number
}

export interface NewExternalPeer extends Pick<ExternalPeer, 'name' | 'wg' | 'tags'> {
  /** Index of the audit entry that says its key. */
  readonly entry: number
}

export class ExternalPeers {
  readonly #fleet: FleetParts

  constructor(fleet: FleetParts) {
    this.#fleet = fleet
  }

  byName(name: NodeName): ExternalPeer | undefined {
    const row = this.#fleet.sql.first<NodeRow>(
      'SELECT * FROM nodes WHERE name = ? AND removed_at IS NULL AND external = 1',
      name,
    )
    return row && peerOf(row, this.#fleet.id)
  }

  /** In order of name; `after` is the last name of the page before. */
  list(after: string, limit: number): ExternalPeer[] {
    const rows = this.#fleet.sql.all<NodeRow>(
      'SELECT * FROM nodes WHERE removed_at IS NULL AND external = 1 AND name > ? ORDER BY name LIMIT ?',
      after,
      limit,
    )
    return rows.map((row) => peerOf(row, this.#fleet.id))
  }

  /** Lets a device into the mesh, by its WireGuard key. Idempotent: the same key and name again are the same peer. */
  async add(peer: NewExternalPeer): Promise<Result<ExternalPeer, Refusal>> {
    const { mesh } = this.#fleet
    const id = await externalPeerIdOf(peer.wg)
    const change = mesh.change(id, () => this.#add(id, peer))
    await mesh.publish(change)
    return change.done
  }

  /** Its peers drop it at once. */
  async remove(name: NodeName): Promise<ExternalPeer | undefined> {
    const { sql, mesh } = this.#fleet
    const peer = this.byName(name)
    if (peer === undefined) return undefined
    const { id, ipv4 } = peer
    const now = Date.now()
    const change = mesh.change(id, () => {
      sql.run('UPDATE nodes SET removed_at = ?, mesh = 0 WHERE id = ? AND external = 1', now, id)
      releaseAddress(sql, ipv4ToNumber(ipv4), now)
    })
    await mesh.publish(change, { urgent: true })
    return peer
  }

  #add(id: NodeId, { name, wg, tags, entry }: NewExternalPeer): Result<ExternalPeer, Refusal> {
    const { id: fleet, env, sql } = this.#fleet
    const known = this.byName(name)
    if (known?.id === id) return ok(known)
    if (this.#has('name = ? AND removed_at IS NULL', name)) return err(refusal('E_PEER_NAME_TAKEN'))
    // Also of one that was removed: a key does not come back under another name.
    if (this.#has('?1 IN (wg_key, wg_next)', wg)) return err(refusal('E_KEY_IN_USE'))
    if (this.#count() >= MAX_EXTERNAL_PEERS) return err(refusal('E_PEERS_FULL'))
    const now = Date.now()
    const range = parseIpv4Range(env.FLEET_CIDR)
    const address = range && leaseAddress(sql, range, id, now)
    if (address === undefined) return err(refusal('E_POOL_EXHAUSTED'))
    // No key has a colon: what stands for the two that it lacks is found by nobody, and sealed to by nobody.
    const none = `external:${id}`
    sql.run(
      `INSERT INTO nodes (id, name, identity_key, wg_key, sealing_key, ipv4, tags, agent, mesh, created_at, key_entry, external)
       VALUES (?, ?, ?, ?, ?, ?, ?, '', 1, ?, ?, 1)`,
      id,
      name,
      none,
      wg,
      none,
      address,
      JSON.stringify(tags),
      now,
      entry,
    )
    const ipv6 = nodeIpv6(fleet, id)
    return ok({ id, name, wg, ipv4: numberToIpv4(address), ipv6, tags, createdAt: now })
  }

  #has(condition: string, value: string): boolean {
    return this.#fleet.sql.first(`SELECT id FROM nodes WHERE ${condition}`, value) !== undefined
  }

  #count(): number {
    const counted = this.#fleet.sql.first<{ n: number }>(
      'SELECT COUNT(*) AS n FROM nodes WHERE external = 1 AND removed_at IS NULL',
    )
    return counted?.n ?? 0
  }
}

const peerOf = ({ id, name, wg_key, ipv4, tags, created_at }: NodeRow, fleet: FleetId): ExternalPeer => ({
  id,
  name,
  wg: wg_key,
  ipv4: numberToIpv4(ipv4),
  ipv6: nodeIpv6(fleet, id),
  tags: Tags.parse(JSON.parse(tags)),
  createdAt: created_at,
})
