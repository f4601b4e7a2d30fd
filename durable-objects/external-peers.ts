/**
 * Devices of the mesh that have no agent: a phone with a plain WireGuard configuration. They are no nodes, and in a table of their own: what
 * goes through the nodes, above all to find who may read a secret, must not meet one, and there is no key by which one could prove itself.
 */
import { ipv4ToNumber, numberToIpv4, parseIpv4Range } from '../protocol/addresses.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import { type Ipv4, type NodeId, type NodeName, Tags, type WireGuardKey } from '../protocol/ids.ts'
import { MAX_EXTERNAL_PEERS } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { leaseAddress, releaseAddress } from './address-pool.ts'
import type { NodeRow } from './fleet-schema.ts'
import type { Sql } from './sql.ts'

/** What of a row goes into the map; a peer without an agent has no sealing key. */
export type MemberRow = Pick<
  NodeRow,
  'id' | 'name' | 'wg_key' | 'ipv4' | 'tags' | 'mesh' | 'removed_at' | 'quarantine'
> & { readonly sealing_key: NodeRow['sealing_key'] | null }

export interface ExternalPeer {
  readonly id: NodeId
  readonly name: NodeName
  readonly wg: WireGuardKey
  readonly ipv4: Ipv4
  readonly tags: Tags
  readonly createdAt: number
}

interface Row extends Record<string, string | number | null> {
  id: NodeId
  name: NodeName
  wg_key: WireGuardKey
  ipv4: number
  tags: string
  created_at: number
  removed_at: number | null
}

const AS_MEMBER = `id, name, wg_key, NULL AS sealing_key, ipv4, tags, removed_at IS NULL AS mesh, removed_at, NULL AS quarantine`

/** Those of the map. */
export const externalMembers = (sql: Sql): MemberRow[] =>
  sql.all<MemberRow>(`SELECT ${AS_MEMBER} FROM external_peers WHERE removed_at IS NULL ORDER BY id`)

export const externalMember = (sql: Sql, id: NodeId): MemberRow | undefined =>
  sql.first<MemberRow>(`SELECT ${AS_MEMBER} FROM external_peers WHERE id = ?`, id)

/** Those of the log after `seq`, removed ones too, each at its last place. */
export const externalMembersSince = (sql: Sql, seq: number): (MemberRow & { seq: number })[] =>
  sql.all<MemberRow & { seq: number }>(
    `SELECT ${AS_MEMBER}, l.seq FROM (SELECT node_id, MAX(seq) AS seq FROM mesh_log WHERE seq > ? GROUP BY node_id) l
     JOIN external_peers p ON p.id = l.node_id`,
    seq,
  )

export class ExternalPeers {
  readonly #sql: Sql
  readonly #cidr: string

  constructor(sql: Sql, cidr: string) {
    this.#sql = sql
    this.#cidr = cidr
  }

  byName(name: NodeName): ExternalPeer | undefined {
    const row = this.#sql.first<Row>(
      'SELECT * FROM external_peers WHERE name = ? AND removed_at IS NULL',
      name,
    )
    return row && peerOf(row)
  }

  /** Also of one that was removed: a key does not come back under another name. */
  hasKey(wg: WireGuardKey): boolean {
    return this.#sql.first('SELECT id FROM external_peers WHERE wg_key = ?', wg) !== undefined
  }

  /** In order of name; `after` is the last name of the page before. */
  list(after: string, limit: number): ExternalPeer[] {
    return this.#sql
      .all<Row>(
        'SELECT * FROM external_peers WHERE removed_at IS NULL AND name > ? ORDER BY name LIMIT ?',
        after,
        limit,
      )
      .map(peerOf)
  }

  /** Call in a transaction. @param peer whose name and key no node has. Idempotent: the same key and name again are the same peer. */
  add(
    peer: Omit<ExternalPeer, 'ipv4' | 'createdAt'>,
    now: number,
  ): Result<ExternalPeer & { readonly isNew: boolean }, Refusal> {
    const named = this.byName(peer.name)
    if (named?.id === peer.id) return ok({ ...named, isNew: false })
    if (named !== undefined) return err(refusal('E_PEER_NAME_TAKEN'))
    if (this.hasKey(peer.wg)) return err(refusal('E_KEY_IN_USE'))
    const count = this.#sql.first<{ n: number }>(
      'SELECT COUNT(*) AS n FROM external_peers WHERE removed_at IS NULL',
    )?.n
    if ((count ?? 0) >= MAX_EXTERNAL_PEERS) return err(refusal('E_PEERS_FULL'))
    const range = parseIpv4Range(this.#cidr)
    const ipv4 = range && leaseAddress(this.#sql, range, peer.id, now)
    if (ipv4 === undefined) return err(refusal('E_POOL_EXHAUSTED'))
    this.#sql.run(
      'INSERT INTO external_peers (id, name, wg_key, ipv4, tags, created_at) VALUES (?, ?, ?, ?, ?, ?)',
      peer.id,
      peer.name,
      peer.wg,
      ipv4,
      JSON.stringify(peer.tags),
      now,
    )
    return ok({ ...peer, ipv4: numberToIpv4(ipv4), createdAt: now, isNew: true })
  }

  /** Call in a transaction. */
  remove({ id, ipv4 }: ExternalPeer, now: number): void {
    this.#sql.run('UPDATE external_peers SET removed_at = ? WHERE id = ?', now, id)
    releaseAddress(this.#sql, ipv4ToNumber(ipv4), now)
  }
}

const peerOf = (row: Row): ExternalPeer => ({
  id: row.id,
  name: row.name,
  wg: row.wg_key,
  ipv4: numberToIpv4(row.ipv4),
  tags: Tags.parse(JSON.parse(row.tags)),
  createdAt: row.created_at,
})
