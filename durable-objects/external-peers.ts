/**
 * Devices of the mesh that have no agent: a phone with a plain WireGuard configuration. To the mesh they are like nodes, with an address, tags and
 * a place in the log, and so their rows are among the nodes'. To everything else they are none: there is no key by which one could prove
 * itself, and whoever looks for nodes, above all for those that may read a secret, looks for rows that are not `external`.
 */
import { ipv4ToNumber, numberToIpv4, parseIpv4Range } from '../protocol/addresses.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import { type Ipv4, type NodeId, type NodeName, Tags, type WireGuardKey } from '../protocol/ids.ts'
import { MAX_EXTERNAL_PEERS } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { leaseAddress, releaseAddress } from './address-leases.ts'
import type { NodeRow } from './fleet-schema.ts'
import type { Sql } from './sql.ts'

export interface ExternalPeer {
  readonly id: NodeId
  readonly name: NodeName
  readonly wg: WireGuardKey
  readonly ipv4: Ipv4
  readonly tags: Tags
  readonly createdAt: number
}

export interface NewExternalPeer extends Pick<ExternalPeer, 'id' | 'name' | 'wg' | 'tags'> {
  /** Index of the audit entry that says its key. */
  readonly entry: number
}

export class ExternalPeers {
  readonly #sql: Sql
  readonly #cidr: string

  constructor(sql: Sql, cidr: string) {
    this.#sql = sql
    this.#cidr = cidr
  }

  byName(name: NodeName): ExternalPeer | undefined {
    const row = this.#sql.first<NodeRow>(
      'SELECT * FROM nodes WHERE name = ? AND removed_at IS NULL AND external = 1',
      name,
    )
    return row && peerOf(row)
  }

  /** In order of name; `after` is the last name of the page before. */
  list(after: string, limit: number): ExternalPeer[] {
    return this.#sql
      .all<NodeRow>(
        'SELECT * FROM nodes WHERE removed_at IS NULL AND external = 1 AND name > ? ORDER BY name LIMIT ?',
        after,
        limit,
      )
      .map(peerOf)
  }

  /** Call in a transaction. Idempotent: the same key and name again are the same peer. */
  add({ id, name, wg, tags, entry }: NewExternalPeer, now: number): Result<ExternalPeer, Refusal> {
    const known = this.byName(name)
    if (known?.id === id) return ok(known)
    if (this.#has('name = ? AND removed_at IS NULL', name)) return err(refusal('E_PEER_NAME_TAKEN'))
    // Also of one that was removed: a key does not come back under another name.
    if (this.#has('?1 IN (wg_key, wg_next)', wg)) return err(refusal('E_KEY_IN_USE'))
    if (this.#count() >= MAX_EXTERNAL_PEERS) return err(refusal('E_PEERS_FULL'))
    const range = parseIpv4Range(this.#cidr)
    const address = range && leaseAddress(this.#sql, range, id, now)
    if (address === undefined) return err(refusal('E_POOL_EXHAUSTED'))
    // No key has a colon: what stands for the two that it lacks is found by nobody, and sealed to by nobody.
    const none = `external:${id}`
    this.#sql.run(
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
    return ok({ id, name, wg, ipv4: numberToIpv4(address), tags, createdAt: now })
  }

  /** Call in a transaction. */
  remove({ id, ipv4 }: ExternalPeer, now: number): void {
    this.#sql.run('UPDATE nodes SET removed_at = ?, mesh = 0 WHERE id = ? AND external = 1', now, id)
    releaseAddress(this.#sql, ipv4ToNumber(ipv4), now)
  }

  #has(condition: string, value: string): boolean {
    return this.#sql.first(`SELECT id FROM nodes WHERE ${condition}`, value) !== undefined
  }

  #count(): number {
    const counted = this.#sql.first<{ n: number }>(
      'SELECT COUNT(*) AS n FROM nodes WHERE external = 1 AND removed_at IS NULL',
    )
    return counted?.n ?? 0
  }
}

const peerOf = ({ id, name, wg_key, ipv4, tags, created_at }: NodeRow): ExternalPeer => ({
  id,
  name,
  wg: wg_key,
  ipv4: numberToIpv4(ipv4),
  tags: Tags.parse(JSON.parse(tags)),
  createdAt: created_at,
})
