/** Nodes that join: under their keys, with an address and under a free name. */
import { nodeIdOf } from '../crypto/node-id.ts'
import { fleetIpv6Prefix, parseIpv4Range } from '../protocol/addresses.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { EnrolReply } from '../protocol/http.ts'
import {
  type IdentityKey,
  type NodeId,
  NodeName,
  type SealingKey,
  type Tags,
  type WireGuardKey,
} from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { isAnyOutside, leaseAddress } from './address-leases.ts'
import type { ExternalPeers } from './external-peers.ts'
import type { FleetParts } from './fleet-parts.ts'
import type { NodeRow } from './fleet-schema.ts'
import type { KeyEntries } from './key-entries.ts'
import { recordOf } from './node-record.ts'

export interface Enrolment {
  readonly name: NodeName
  readonly identity: IdentityKey
  readonly wg: WireGuardKey
  readonly seal: SealingKey
  readonly agent: string
  readonly tags: Tags
  /** Index of the audit entry that says these keys and this name. */
  readonly entry: number
}

/** The answer to an enrolment, before the gateway has signed it. */
export type EnrolledNode = Omit<EnrolReply, 'gateway'>

export class NodeEnrolment {
  readonly #fleet: FleetParts
  readonly #externalPeers: ExternalPeers
  readonly #keyEntries: KeyEntries

  constructor(fleet: FleetParts, externalPeers: ExternalPeers, keyEntries: KeyEntries) {
    this.#fleet = fleet
    this.#externalPeers = externalPeers
    this.#keyEntries = keyEntries
  }

  /** Idempotent: the same keys again give the same node. */
  async enrol(enrolment: Enrolment): Promise<Result<EnrolledNode, Refusal>> {
    const { sql, nodes } = this.#fleet
    const id = (await nodes.ofKey(enrolment.identity))?.id ?? (await nodeIdOf(enrolment.identity))
    const enrolled = sql.transaction(() => this.#enrol(id, enrolment))
    // One that was given another name than it wanted needs an entry that says so.
    if (nodes.row(id)?.key_entry === null) await this.#keyEntries.missing()
    return enrolled
  }

  #enrol(id: NodeId, enrolment: Enrolment): Result<EnrolledNode, Refusal> {
    const existing = this.#fleet.nodes.row(id)
    return existing === undefined ? this.#add(id, enrolment) : this.#again(existing, enrolment)
  }

  #again(existing: NodeRow, { identity, wg, seal }: Enrolment): Result<EnrolledNode, Refusal> {
    if (existing.removed_at !== null) return err(refusal('E_NODE_REMOVED'))
    if (existing.identity_key !== identity)
      return err(refusal('E_KEY_IN_USE', 'this identity key was replaced'))
    // A node that has changed its interface, and not yet been able to say so, has the announced one.
    const isItsWireguard = existing.wg_key === wg || existing.wg_next === wg
    if (!isItsWireguard || existing.sealing_key !== seal)
      return err(refusal('E_KEY_IN_USE', 'this identity is enrolled with other keys'))
    return ok(this.#reply(existing))
  }

  #add(id: NodeId, enrolment: Enrolment): Result<EnrolledNode, Refusal> {
    const { sql, nodes, env } = this.#fleet
    const { wg, seal } = enrolment
    const clash = sql.first(
      'SELECT id FROM nodes WHERE wg_key = ? OR wg_next = ? OR sealing_key = ?',
      wg,
      wg,
      seal,
    )
    if (clash !== undefined) return err(refusal('E_KEY_IN_USE'))

    const now = Date.now()
    const range = parseIpv4Range(env.FLEET_CIDR)
    if (range !== undefined && isAnyOutside(sql, range)) return err(refusal('E_FLEET_CIDR_NARROWED'))
    const ipv4 = range && leaseAddress(sql, range, id, now)
    if (ipv4 === undefined) return err(refusal('E_POOL_EXHAUSTED'))
    const name = this.#freeName(enrolment.name, id)
    sql.run(
      `INSERT INTO nodes (id, name, identity_key, wg_key, sealing_key, ipv4, tags, agent, created_at, key_entry)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      id,
      name,
      enrolment.identity,
      wg,
      seal,
      ipv4,
      JSON.stringify(enrolment.tags),
      enrolment.agent,
      now,
      name === enrolment.name ? enrolment.entry : null,
    )
    const row = nodes.row(id)
    if (row === undefined) throw new Error('an enrolled node has no row')
    return ok(this.#reply(row))
  }

  /** Cloud images share host names: the second `gpu` takes some of its id with it, which needs no search for a free number. */
  #freeName(wanted: NodeName, id: NodeId): NodeName {
    for (const letters of [0, 4, 26]) {
      const name =
        letters === 0 ? wanted : `${wanted.slice(0, 36).replace(/-+$/, '')}-${id.slice(0, letters)}`
      if (this.#isFree(NodeName.parse(name))) return NodeName.parse(name)
    }
    throw new Error('a name that ends in the whole node id is taken')
  }

  /** Nodes and peers without an agent share the names of the mesh. */
  #isFree(name: NodeName): boolean {
    return this.#fleet.nodes.byName(name) === undefined && this.#externalPeers.byName(name) === undefined
  }

  #reply(row: NodeRow): EnrolledNode {
    const { id: fleet, env } = this.#fleet
    const { id, name, ipv4, ipv6, tags } = recordOf(row, fleet)
    return {
      id,
      name,
      tags,
      ipv4,
      ipv6,
      fleet,
      fleetName: env.FLEET_NAME,
      ipv4Range: env.FLEET_CIDR,
      ipv6Range: fleetIpv6Prefix(fleet),
    }
  }
}
