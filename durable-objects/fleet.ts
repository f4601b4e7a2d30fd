/**
 * The node registry of one fleet: who is enrolled, under which keys, name and address, and the log by which the mesh follows. One object,
 * one writer. It holds no socket, and is called when a node enrols, registers, changes or goes, never for a heartbeat.
 */
import { DurableObject } from 'cloudflare:workers'
import { randomBytes } from '../crypto/bytes.ts'
import { externalPeerIdOf, nodeIdOf } from '../crypto/node-id.ts'
import {
  fleetIpv6Prefix,
  ipv4ToNumber,
  nodeIpv6,
  numberToIpv4,
  parseIpv4Range,
} from '../protocol/addresses.ts'
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
import { MAX_TAGS } from '../protocol/limits.ts'
import type { MeshPosition } from '../protocol/mesh.ts'
import { changeTags, type TagChange } from '../protocol/node-tags.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { mightRead, type StoredPolicy } from '../protocol/secret-policy.ts'
import { allShardNames, shardName } from '../protocol/shard.ts'
import { leaseAddress, releaseAddress } from './address-pool.ts'
import { AUDIT_OBJECT, callObject } from './call-object.ts'
import { readCounters } from './counters.ts'
import type { Env } from './env.ts'
import { type ExternalPeer, ExternalPeers, type NewExternalPeer } from './external-peers.ts'
import { FLEET_MIGRATIONS, type NodeRow } from './fleet-schema.ts'
import { KeyEntries } from './key-entries.ts'
import { MeshFanout } from './mesh-fanout.ts'
import { MeshLog, type MeshUpdate } from './mesh-log.ts'
import type { SessionShard } from './session-shard.ts'
import { Sql } from './sql.ts'

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
  /** Whether its owner waits for a new identity key of it. */
  readonly rotating: boolean
  /** Index of the audit entry that says its keys. */
  readonly entry: number | null
}

type WithIpv6<T> = T & Pick<NodeRecord, 'ipv6'>

/** An offline node may take a day to hear that it is asked. */
const ROTATION_ALLOWED_MS = 24 * 60 * 60_000

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
  readonly #keyEntries: KeyEntries
  readonly #externalPeers: ExternalPeers

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = new Sql(ctx.storage, FLEET_MIGRATIONS)
    const { id, epoch } = this.#identify()
    this.#id = id
    this.#log = new MeshLog(this.#sql, epoch)
    this.#externalPeers = new ExternalPeers(this.#sql, env.FLEET_CIDR)
    this.#keyEntries = new KeyEntries(this.#sql, (events) =>
      callObject(env.AUDIT_LOG, AUDIT_OBJECT, (log) => log.append(events)),
    )
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
    const enrolled = this.#sql.transaction(() => this.#enrol(id, enrolment))
    // One that was given another name than it wanted needs an entry that says so.
    if (this.#row(id)?.key_entry === null) await this.#keyEntries.missing()
    return enrolled
  }

  nodeByName(name: NodeName): NodeRecord | undefined {
    const row = this.#sql.first<NodeRow>(
      'SELECT * FROM nodes WHERE name = ? AND removed_at IS NULL AND external = 0',
      name,
    )
    return row && this.#record(row)
  }

  /** In their order; undefined for a name that no node has. */
  nodesByName(names: readonly NodeName[]): (Pick<NodeRecord, 'id' | 'name'> | undefined)[] {
    return names.map((name) => {
      const node = this.nodeByName(name)
      return node && { id: node.id, name: node.name }
    })
  }

  /** In order of name; `after` is the last name of the page before. */
  list(after: string, limit: number): NodeRecord[] {
    const rows = this.#sql.all<NodeRow>(
      'SELECT * FROM nodes WHERE removed_at IS NULL AND external = 0 AND name > ? ORDER BY name LIMIT ?',
      after,
      limit,
    )
    return rows.map((row) => this.#record(row))
  }

  /** The nodes that may read a secret of this policy, whichever of their jobs asks. */
  readers(policy: StoredPolicy): NodeRecord[] {
    const now = Date.now()
    const rows = this.#sql.all<NodeRow>(
      'SELECT * FROM nodes WHERE removed_at IS NULL AND quarantine IS NULL AND external = 0 ORDER BY name',
    )
    return rows.map((row) => this.#record(row)).filter(mightRead(policy, now))
  }

  /** Removes the node everywhere: its identity is refused from now on, its socket is cut, and its peers hear of it at once. */
  async remove(name: NodeName): Promise<NodeRecord | undefined> {
    const node = this.nodeByName(name)
    if (node === undefined) return undefined
    const now = Date.now()
    this.#sql.transaction(() => {
      this.#sql.run('UPDATE nodes SET removed_at = ?, mesh = 0 WHERE id = ?', now, node.id)
      releaseAddress(this.#sql, ipv4ToNumber(node.ipv4), now)
      this.#changed(node.id, node.mesh)
    })
    await this.#settle(node.id)
    return node
  }

  /** Holds a node: its sessions end, its requests are refused, and its peers drop it, until it is released (`reason` null). */
  async hold(id: NodeId, reason: string | null): Promise<void> {
    const node = this.node(id)
    if (node === undefined || node.removed) return
    this.#sql.transaction(() => {
      this.#sql.run('UPDATE nodes SET quarantine = ? WHERE id = ?', reason, id)
      this.#changed(id, node.mesh)
    })
    await this.#settle(id)
  }

  /** Which secrets the node may read follows from its tags: its shard has forgotten the old ones when this returns. */
  async setTags(id: NodeId, change: TagChange): Promise<Result<Tags, Refusal>> {
    const node = this.node(id)
    if (node === undefined || node.removed) return err(refusal('E_NODE_NOT_FOUND'))
    const tags = changeTags(node.tags, change)
    if (tags.length > MAX_TAGS) return err(refusal('E_TOO_MANY_TAGS'))
    const text = JSON.stringify(tags)
    if (text !== JSON.stringify(node.tags)) {
      this.#sql.transaction(() => {
        this.#sql.run('UPDATE nodes SET tags = ? WHERE id = ?', text, id)
        if (node.mesh) this.#log.append(id)
      })
      if (node.mesh) void this.#fanout.changed({ urgent: false })
    }
    // Also when nothing has changed: it may be the second try of one whose shard did not answer.
    await this.#callShardOf(id, (shard) => shard.forget(id))
    return ok(tags)
  }

  /** Lets the node change its identity key, and asks it to, now or when it is next here. */
  async allowRotation(id: NodeId): Promise<void> {
    this.#sql.run('UPDATE nodes SET rotation_until = ? WHERE id = ?', Date.now() + ROTATION_ALLOWED_MS, id)
    await this.#callShardOf(id, (shard) => shard.askForRotation(id))
  }

  /**
   * The old key has signed for the new one, and the new one for itself; the node stays who it is. Only while its owner has asked for it:
   * whoever has copied a key must not be able to take the node over with it.
   */
  async rotateIdentity(
    id: NodeId,
    identity: IdentityKey,
    entry: number,
  ): Promise<Result<IdentityKey, Refusal>> {
    const owner = await this.nodeOfKey(identity)
    if (owner?.id === id && owner.identity === identity) return ok(identity)
    if (owner !== undefined) return err(refusal('E_KEY_IN_USE'))
    const changed = this.#sql.first(
      `UPDATE nodes SET identity_key = ?, rotation_until = NULL, key_entry = ?
       WHERE id = ? AND removed_at IS NULL AND quarantine IS NULL AND rotation_until > ? RETURNING id`,
      identity,
      entry,
      id,
      Date.now(),
    )
    if (changed === undefined) return err(refusal('E_ROTATION_NOT_ASKED'))
    await this.#callShardOf(id, (shard) => shard.forget(id))
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
    if (!registration.mesh) return { position: this.#log.position, hash: '', frames: [], snapshot: false }
    this.#fanout.listens(shardName(row.id, this.#shards))
    return this.#log.since(registration.at)
  }

  /** Where the log is, and since when a node at each of these places is owed the next entry. */
  meshLag(places: readonly number[]): { readonly head: MeshPosition; readonly owedSince: (number | null)[] } {
    return { head: this.#log.position, owedSince: places.map((seq) => this.#log.owedSince(seq)) }
  }

  externalPeers(after: string, limit: number): WithIpv6<ExternalPeer>[] {
    return this.#externalPeers.list(after, limit).map((peer) => this.#withIpv6(peer))
  }

  /** Lets a device without an agent into the mesh, by its WireGuard key. */
  async addExternalPeer(peer: Omit<NewExternalPeer, 'id'>): Promise<Result<WithIpv6<ExternalPeer>, Refusal>> {
    const id = await externalPeerIdOf(peer.wg)
    const added = this.#sql.transaction(() => {
      const result = this.#externalPeers.add({ id, ...peer }, Date.now())
      if (result.ok && result.value.isNew) this.#log.append(id)
      return result
    })
    if (!added.ok) return added
    if (added.value.isNew) await this.#fanout.changed({ urgent: false })
    return ok(this.#withIpv6(added.value.peer))
  }

  /** Its peers drop it at once. */
  async removeExternalPeer(name: NodeName): Promise<ExternalPeer | undefined> {
    const peer = this.#externalPeers.byName(name)
    if (peer === undefined) return undefined
    this.#sql.transaction(() => {
      this.#externalPeers.remove(peer, Date.now())
      this.#log.append(peer.id)
    })
    await this.#fanout.changed({ urgent: true })
    return peer
  }

  changesSince(at: MeshPosition | undefined): MeshUpdate {
    return this.#log.since(at)
  }

  /** Once a minute: finishes what could not be finished at once. @returns the newest place, for the shards to compare. */
  async sweep(): Promise<MeshPosition> {
    for (const { node_id } of this.#sql.all<{ node_id: NodeId }>('SELECT node_id FROM unsettled LIMIT 100')) {
      await this.#settle(node_id)
    }
    await this.#fanout.flush()
    await this.#keyEntries.addMissing()
    return this.#log.position
  }

  /** Audit entries below this have left the gateway. */
  async renewKeyEntries(below: number): Promise<void> {
    await this.#keyEntries.renew(below)
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
    const name = this.#freeName(enrolment.name, id)
    this.#sql.run(
      `INSERT INTO nodes (id, name, identity_key, wg_key, sealing_key, ipv4, tags, agent, created_at, key_entry)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      id,
      name,
      enrolment.identity,
      enrolment.wg,
      enrolment.seal,
      ipv4,
      JSON.stringify(enrolment.tags),
      enrolment.agent,
      now,
      name === enrolment.name ? enrolment.entry : null,
    )
    const row = this.#row(id)
    if (row === undefined) throw new Error('an enrolled node has no row')
    return ok(this.#reply(row))
  }

  /** Call in the transaction that changes the node. */
  #changed(id: NodeId, inMesh: boolean): void {
    this.#sql.run('INSERT INTO unsettled (node_id) VALUES (?) ON CONFLICT DO NOTHING', id)
    if (inMesh) this.#log.append(id)
  }

  /** Tells the node's shard and peers what the registry says; what fails here is tried again by the sweep. */
  async #settle(id: NodeId): Promise<void> {
    const node = this.node(id)
    if (node === undefined) return
    await Promise.all([
      this.#callShardOf(id, (shard) => {
        if (node.removed) return shard.revoke(id)
        return node.quarantine === undefined ? shard.welcomeBack(id) : shard.hold(id)
      }),
      this.#fanout.changed({ urgent: true }),
    ])
    this.#sql.run('DELETE FROM unsettled WHERE node_id = ?', id)
  }

  #callShardOf<P>(id: NodeId, work: (shard: DurableObjectStub<SessionShard>) => P): Promise<Awaited<P>> {
    return callObject(this.env.SESSION_SHARD, shardName(id, this.#shards), work)
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
    return this.nodeByName(name) === undefined && this.#externalPeers.byName(name) === undefined
  }

  #row(id: NodeId): NodeRow | undefined {
    return this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE id = ? AND external = 0', id)
  }

  #withIpv6<T extends { readonly id: NodeId }>(peer: T): WithIpv6<T> {
    return { ...peer, ipv6: nodeIpv6(this.#id, peer.id) }
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
      rotating: (row.rotation_until ?? 0) > Date.now(),
      entry: row.key_entry,
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
