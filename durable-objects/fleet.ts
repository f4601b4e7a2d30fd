/**
 * The node registry of one fleet: who is enrolled, under which keys, name and address, and the log by which the mesh follows. One object,
 * one writer. It holds no socket, and is called when a node enrols, registers, changes or goes, never for a heartbeat.
 */
import { DurableObject } from 'cloudflare:workers'
import { randomBytes } from '../crypto/bytes.ts'
import { nodeIdOf } from '../crypto/node-id.ts'
import { fleetIpv6Prefix, nodeIpv6, numberToIpv4, parseIpv4Range } from '../protocol/addresses.ts'
import { toBase32 } from '../protocol/base32.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { EnrolReply } from '../protocol/http.ts'
import {
  FleetId,
  type IdentityKey,
  type NodeId,
  NodeName,
  type SealingKey,
  Tags,
  type WireGuardKey,
} from '../protocol/ids.ts'
import type { MeshPosition } from '../protocol/mesh.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { allShardNames, shardName } from '../protocol/shard.ts'
import { leaseAddress, releaseAddress } from './address-pool.ts'
import { callObject } from './call-object.ts'
import { readCounters } from './counters.ts'
import type { Env } from './env.ts'
import { FLEET_MIGRATIONS, type NodeRow } from './fleet-schema.ts'
import { MeshFanout } from './mesh-fanout.ts'
import { MeshLog, type MeshUpdate } from './mesh-log.ts'
import { Sql } from './sql.ts'

export interface Enrolment {
  readonly name: NodeName
  readonly identity: IdentityKey
  readonly wg: WireGuardKey
  readonly seal: SealingKey
  readonly agent: string
  readonly tags: Tags
}

/** The answer to an enrolment, before the gateway has signed it. */
export type EnrolledNode = Omit<EnrolReply, 'gateway'>

/** A node as the rest of the gateway knows it. */
export interface NodeRecord {
  readonly id: NodeId
  readonly name: NodeName
  readonly identity: IdentityKey
  readonly wg: WireGuardKey
  readonly seal: SealingKey
  readonly ipv4: EnrolReply['ipv4']
  readonly ipv6: EnrolReply['ipv6']
  readonly fleet: FleetId
  readonly tags: Tags
  readonly agent: string
  readonly mesh: boolean
  readonly createdAt: number
  readonly removed: boolean
  readonly quarantine: string | undefined
}

export interface Registration {
  readonly node: NodeId
  readonly agent: string
  readonly mesh: boolean
  readonly at: MeshPosition | undefined
}

export class Fleet extends DurableObject<Env> {
  readonly #sql: Sql
  readonly #id: FleetId
  readonly #log: MeshLog
  readonly #fanout: MeshFanout
  readonly #shards: number

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = new Sql(ctx.storage, FLEET_MIGRATIONS)
    const { id, epoch } = this.#identify()
    this.#id = id
    this.#log = new MeshLog(this.#sql, epoch)
    this.#shards = Number(env.SESSION_SHARDS)
    this.#fanout = new MeshFanout(this.#log, allShardNames(this.#shards), (shard, from, update) =>
      callObject(env.SESSION_SHARD, shard, (stub) => stub.publish(from, update)),
    )
  }

  identity(): { readonly id: FleetId } {
    return { id: this.#id }
  }

  /** The node whose identity key this is, or was at its enrolment. */
  async nodeOfKey(identity: IdentityKey): Promise<NodeRecord | undefined> {
    const row = this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE identity_key = ?', identity)
    return row === undefined ? this.node(await nodeIdOf(identity)) : this.#record(row)
  }

  node(id: NodeId): NodeRecord | undefined {
    const row = this.#row(id)
    return row && this.#record(row)
  }

  /** Idempotent: the same keys again give the same node. */
  async enrol(enrolment: Enrolment): Promise<Result<EnrolledNode, Refusal>> {
    const id = (await this.nodeOfKey(enrolment.identity))?.id ?? (await nodeIdOf(enrolment.identity))
    return this.#sql.transaction(() => this.#enrol(id, enrolment))
  }

  nodeByName(name: NodeName): NodeRecord | undefined {
    const row = this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE name = ? AND removed_at IS NULL', name)
    return row && this.#record(row)
  }

  /** In order of name; `after` is the last name of the page before. */
  list(after: string, limit: number): NodeRecord[] {
    const rows = this.#sql.all<NodeRow>(
      'SELECT * FROM nodes WHERE removed_at IS NULL AND name > ? ORDER BY name LIMIT ?',
      after,
      limit,
    )
    return rows.map((row) => this.#record(row))
  }

  /** Removes the node everywhere: its identity is refused from now on, its socket is cut, and its peers hear of it at once. */
  async remove(name: NodeName): Promise<NodeRecord | undefined> {
    const node = this.nodeByName(name)
    if (node === undefined) return undefined
    const now = Date.now()
    this.#sql.transaction(() => {
      this.#sql.run('UPDATE nodes SET removed_at = ?, mesh = 0 WHERE id = ?', now, node.id)
      const { ipv4 } = this.#row(node.id) ?? { ipv4: 0 }
      releaseAddress(this.#sql, ipv4, now)
      if (node.mesh) this.#log.append(node.id)
    })
    const shard = shardName(node.id, this.#shards)
    await Promise.all([
      callObject(this.env.SESSION_SHARD, shard, (stub) => stub.revoke(node.id)),
      this.#fanout.changed({ urgent: true }),
    ])
    return node
  }

  /** Holds a node: its sessions end, its requests are refused, and its peers drop it, until it is released. */
  async quarantine(id: NodeId, reason: string): Promise<void> {
    await this.#hold(id, reason)
  }

  async release(id: NodeId): Promise<void> {
    await this.#hold(id, null)
  }

  /** The old key has signed for the new one, and the new one for itself; the node stays who it is. */
  async rotateIdentity(id: NodeId, identity: IdentityKey): Promise<Result<IdentityKey, Refusal>> {
    const owner = await this.nodeOfKey(identity)
    if (owner !== undefined)
      return owner.id === id && owner.identity === identity ? ok(identity) : err(refusal('E_KEY_IN_USE'))
    this.#sql.run('UPDATE nodes SET identity_key = ? WHERE id = ?', identity, id)
    await callObject(this.env.SESSION_SHARD, shardName(id, this.#shards), (stub) => stub.forget(id))
    return ok(identity)
  }

  /** A session begins: what the node must know of the mesh. Writes a row only if the node is not as it was. */
  async register(registration: Registration): Promise<MeshUpdate | undefined> {
    const row = this.#row(registration.node)
    if (row === undefined || row.removed_at !== null || row.quarantine !== null) return undefined
    const mesh = registration.mesh ? 1 : 0
    if (row.agent !== registration.agent || row.mesh !== mesh) {
      this.#sql.transaction(() => {
        this.#sql.run('UPDATE nodes SET agent = ?, mesh = ? WHERE id = ?', registration.agent, mesh, row.id)
        if (row.mesh !== mesh) this.#log.append(row.id)
      })
      if (row.mesh !== mesh) void this.#fanout.changed({ urgent: false })
    }
    if (!registration.mesh) return { position: this.#log.position, frames: [], snapshot: false }
    this.#fanout.listens(shardName(row.id, this.#shards))
    return this.#log.since(registration.at)
  }

  changesSince(at: MeshPosition | undefined): MeshUpdate {
    return this.#log.since(at)
  }

  position(): MeshPosition {
    return this.#log.position
  }

  counters() {
    return readCounters()
  }

  #enrol(id: NodeId, enrolment: Enrolment): Result<EnrolledNode, Refusal> {
    const existing = this.#row(id)
    if (existing !== undefined) {
      if (existing.removed_at !== null) return err(refusal('E_NODE_REMOVED'))
      if (existing.identity_key !== enrolment.identity)
        return err(refusal('E_KEY_IN_USE', 'this identity key was replaced'))
      if (existing.wg_key !== enrolment.wg || existing.sealing_key !== enrolment.seal) {
        return err(refusal('E_KEY_IN_USE', 'this identity is enrolled with other keys'))
      }
      return ok(this.#reply(existing))
    }
    const clash = this.#sql.first(
      'SELECT id FROM nodes WHERE wg_key = ? OR sealing_key = ?',
      enrolment.wg,
      enrolment.seal,
    )
    if (clash !== undefined) return err(refusal('E_KEY_IN_USE'))

    const now = Date.now()
    const range = parseIpv4Range(this.env.FLEET_CIDR)
    const ipv4 = range && leaseAddress(this.#sql, range, id, now)
    if (ipv4 === undefined) return err(refusal('E_POOL_EXHAUSTED'))
    this.#sql.run(
      `INSERT INTO nodes (id, name, identity_key, wg_key, sealing_key, ipv4, tags, agent, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      id,
      this.#freeName(enrolment.name),
      enrolment.identity,
      enrolment.wg,
      enrolment.seal,
      ipv4,
      JSON.stringify(enrolment.tags),
      enrolment.agent,
      now,
    )
    const row = this.#row(id)
    if (row === undefined) throw new Error('an enrolled node has no row')
    return ok(this.#reply(row))
  }

  async #hold(id: NodeId, reason: string | null): Promise<void> {
    const row = this.#row(id)
    if (row === undefined || row.removed_at !== null || row.quarantine === reason) return
    this.#sql.transaction(() => {
      this.#sql.run('UPDATE nodes SET quarantine = ? WHERE id = ?', reason, id)
      if (row.mesh === 1) this.#log.append(id)
    })
    const shard = shardName(id, this.#shards)
    await Promise.all([
      callObject(this.env.SESSION_SHARD, shard, (stub) =>
        reason === null ? stub.welcomeBack(id) : stub.hold(id),
      ),
      this.#fanout.changed({ urgent: true }),
    ])
  }

  /** Cloud images share host names: the second `gpu` becomes `gpu-2`. */
  #freeName(wanted: NodeName): NodeName {
    const taken = (name: string) =>
      this.#sql.first('SELECT 1 AS one FROM nodes WHERE name = ? AND removed_at IS NULL', name) !== undefined
    if (!taken(wanted)) return wanted
    for (let suffix = 2; ; suffix++) {
      const name = `${wanted.slice(0, 56).replace(/-+$/, '')}-${suffix}`
      if (!taken(name)) return NodeName.parse(name)
    }
  }

  #row(id: NodeId): NodeRow | undefined {
    return this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE id = ?', id)
  }

  #record(row: NodeRow): NodeRecord {
    return {
      id: row.id,
      name: row.name,
      identity: row.identity_key,
      wg: row.wg_key,
      seal: row.sealing_key,
      ipv4: numberToIpv4(row.ipv4),
      ipv6: nodeIpv6(this.#id, row.id),
      fleet: this.#id,
      tags: Tags.parse(JSON.parse(row.tags)),
      agent: row.agent,
      mesh: row.mesh === 1,
      createdAt: row.created_at,
      removed: row.removed_at !== null,
      quarantine: row.quarantine ?? undefined,
    }
  }

  #reply(row: NodeRow): EnrolledNode {
    const { id, name, ipv4, ipv6, tags } = this.#record(row)
    return {
      id,
      name,
      tags,
      ipv4,
      ipv6,
      fleet: this.#id,
      fleetName: this.env.FLEET_NAME,
      ipv4Range: this.env.FLEET_CIDR,
      ipv6Range: fleetIpv6Prefix(this.#id),
    }
  }

  #identify(): { id: FleetId; epoch: string } {
    const stored = this.#sql.first<{ id: string; epoch: string }>('SELECT id, epoch FROM fleet')
    if (stored !== undefined) return { id: FleetId.parse(stored.id), epoch: stored.epoch }
    const id = FleetId.parse(toBase32(randomBytes(16)))
    // Short, because every mesh frame carries it; it need only differ from the epochs of logs before this one.
    const epoch = toBase32(randomBytes(5))
    this.#sql.run('INSERT INTO fleet (one, id, epoch) VALUES (1, ?, ?)', id, epoch)
    return { id, epoch }
  }
}
