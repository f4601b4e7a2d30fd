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
import type { EnrolReply, WireguardKeyReply } from '../protocol/http.ts'
import {
  type Cidr,
  FleetId,
  type IdentityKey,
  type Ipv4,
  type NodeId,
  NodeName,
  type SealingKey,
  Tags,
  type WireGuardKey,
} from '../protocol/ids.ts'
import { MAX_TAGS } from '../protocol/limits.ts'
import type { MeshPosition } from '../protocol/mesh.ts'
import type { NodeRoutes, RouteChange } from '../protocol/node-routes.ts'
import { changeTags, type TagChange } from '../protocol/node-tags.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { mightRead, type StoredPolicy } from '../protocol/secret-policy.ts'
import { shardName } from '../protocol/shard.ts'
import { isAnyOutside, leaseAddress, moveAddress, releaseAddress } from './address-leases.ts'
import { AUDIT_OBJECT, callObject } from './call-object.ts'
import { readCounters } from './counters.ts'
import type { Env } from './env.ts'
import { type ExternalPeer, ExternalPeers, type NewExternalPeer } from './external-peers.ts'
import { FleetMesh, type MeshPlacesNow } from './fleet-mesh.ts'
import { FleetPolicy, type PolicyQuestion, type PolicyWrite } from './fleet-policy.ts'
import { FLEET_MIGRATIONS, type NodeRow } from './fleet-schema.ts'
import { KeyEntries } from './key-entries.ts'
import type { MapLag, MeshUpdate } from './mesh-log.ts'
import { changeRoutes, nodeRoutes, offersText, routesOf } from './node-routes.ts'
import { cutRelayed } from './relays.ts'
import type { SessionShard } from './session-shard.ts'
import { Sql } from './sql.ts'
import { WireguardKeys, type WireguardUse } from './wireguard-keys.ts'

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
  /** Whether its owner waits for another WireGuard key. */
  readonly wireguardRotating: boolean
  /** Index of the audit entry that says its keys. */
  readonly entry: number | null
}

const ADDRESS_REFUSALS = {
  outside: 'E_ADDRESS_OUTSIDE',
  taken: 'E_ADDRESS_TAKEN',
  resting: 'E_ADDRESS_RESTING',
} as const

type WithIpv6<T> = T & Pick<NodeRecord, 'ipv6'>

/** An offline node may take a day to hear that it is asked. */
const ROTATION_ALLOWED_MS = 24 * 60 * 60_000

export interface Registration {
  readonly node: NodeId
  readonly agent: string
  readonly mesh: boolean
  readonly at: MeshPosition | undefined
  readonly offers: readonly Cidr[]
}

export class Fleet extends DurableObject<Env> {
  readonly #sql: Sql
  readonly #id: FleetId
  readonly #mesh: FleetMesh
  readonly #policy: FleetPolicy
  readonly #shards: number
  readonly #keyEntries: KeyEntries
  readonly #externalPeers: ExternalPeers
  readonly #wireguardKeys: WireguardKeys

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = new Sql(ctx.storage, FLEET_MIGRATIONS)
    const { id, epoch } = this.#identify()
    this.#id = id
    this.#externalPeers = new ExternalPeers(this.#sql, env.FLEET_CIDR)
    this.#keyEntries = new KeyEntries(this.#sql, (events) =>
      callObject(env.AUDIT_LOG, AUDIT_OBJECT, (log) => log.append(events)),
    )
    this.#wireguardKeys = new WireguardKeys(this.#sql)
    this.#shards = Number(env.SESSION_SHARDS)
    this.#mesh = new FleetMesh(this.#sql, epoch, this.#shards, (shard, publication) =>
      callObject(env.SESSION_SHARD, shard, (stub) => stub.publish(publication)),
    )
    this.#policy = new FleetPolicy(this.#sql, this.#mesh)
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
    this.#mesh.change(node.id, () => {
      this.#sql.run('UPDATE nodes SET removed_at = ?, mesh = 0 WHERE id = ?', now, node.id)
      releaseAddress(this.#sql, ipv4ToNumber(node.ipv4), now)
      this.#isUnsettled(node.id)
    })
    await this.#settle(node.id)
    return node
  }

  /** Holds a node: its sessions end, its requests are refused, and its peers drop it, until it is released (`reason` null). */
  async hold(id: NodeId, reason: string | null): Promise<void> {
    const node = this.node(id)
    if (node === undefined || node.removed) return
    this.#mesh.change(id, () => {
      this.#sql.run('UPDATE nodes SET quarantine = ? WHERE id = ?', reason, id)
      this.#isUnsettled(id)
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
      const change = this.#mesh.change(id, () => {
        this.#sql.run('UPDATE nodes SET tags = ? WHERE id = ?', text, id)
      })
      void this.#mesh.publish(change)
    }
    // Also when nothing has changed: it may be the second try of one whose shard did not answer.
    await this.#callShardOf(id, (shard) => shard.forget(id))
    return ok(tags)
  }

  routes(id: NodeId): NodeRoutes | undefined {
    const row = this.#row(id)
    return row && nodeRoutes(row)
  }

  /** Networks behind the node that are both offered and approved. */
  routedTo(id: NodeId): Cidr[] {
    const row = this.#row(id)
    return row === undefined ? [] : routesOf(row)
  }

  async changeRoutes(id: NodeId, change: RouteChange): Promise<Result<NodeRoutes, Refusal>> {
    const row = this.#row(id)
    if (row === undefined || row.removed_at !== null) return err(refusal('E_NODE_NOT_FOUND'))
    const approved = changeRoutes(this.#sql, row, change, { id: this.#id, ipv4Range: this.env.FLEET_CIDR })
    if (!approved.ok) return approved
    return ok(nodeRoutes(await this.#setRoutes(row, { approved_routes: JSON.stringify(approved.value) })))
  }

  /** Gives the node another address; it hears of it with its next session, which begins at once. */
  async setAddress(id: NodeId, ip4: Ipv4): Promise<Result<Ipv4, Refusal>> {
    const row = this.#row(id)
    const range = parseIpv4Range(this.env.FLEET_CIDR)
    if (row === undefined || row.removed_at !== null || range === undefined)
      return err(refusal('E_NODE_NOT_FOUND'))
    const to = ipv4ToNumber(ip4)
    let problem: ReturnType<typeof moveAddress>
    const heard = this.#mesh.change(id, () => {
      problem = moveAddress(this.#sql, range, { node: id, from: row.ipv4, to, now: Date.now() })
      if (problem === undefined) this.#sql.run('UPDATE nodes SET ipv4 = ? WHERE id = ?', to, id)
    })
    if (problem !== undefined) return err(refusal(ADDRESS_REFUSALS[problem]))
    void this.#mesh.publish(heard)
    await this.#callShardOf(id, (shard) => shard.restart(id))
    return ok(ip4)
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

  /** Whether the two may hear of each other and exchange packets. */
  mayTalk(a: NodeId, b: NodeId): boolean {
    return a !== b && this.#mesh.see(a, b)
  }

  /** Those of the peers that the node may talk to, in their order. */
  relayable(node: NodeId, peers: readonly NodeId[]): NodeId[] {
    return peers.filter((peer) => this.mayTalk(node, peer))
  }

  /** Asks the node for another WireGuard key, now or when it is next here. */
  async askWireguardRotation(id: NodeId): Promise<void> {
    this.#wireguardKeys.ask(id, Date.now())
    await this.#callShardOf(id, (shard) => shard.askForWireguardRotation(id))
  }

  announceWireguard(id: NodeId, key: WireGuardKey): Promise<Result<WireguardKeyReply, Refusal>> {
    return this.#rekeyed(id, () => this.#wireguardKeys.announce(id, key))
  }

  useWireguard(id: NodeId, use: WireguardUse): Promise<Result<WireguardKeyReply, Refusal>> {
    return this.#rekeyed(id, () => this.#wireguardKeys.use(id, use))
  }

  async #rekeyed(
    id: NodeId,
    work: () => Result<WireguardKeyReply, Refusal>,
  ): Promise<Result<WireguardKeyReply, Refusal>> {
    let done: Result<WireguardKeyReply, Refusal> = err(refusal('E_NODE_NOT_FOUND'))
    const change = this.#mesh.change(id, () => {
      done = work()
    })
    if (!done.ok) return done
    void this.#mesh.publish(change)
    await this.#callShardOf(id, (shard) => shard.forget(id))
    return done
  }

  /** A session begins: what the node must know of the mesh. Writes a row only if the node is not as it was. */
  async register(registration: Registration): Promise<MeshUpdate | undefined> {
    const row = this.#row(registration.node)
    if (row === undefined || row.removed_at !== null || row.quarantine !== null) return undefined
    const mesh = registration.mesh ? 1 : 0
    if (row.agent !== registration.agent || row.mesh !== mesh) {
      const change = this.#mesh.change(row.id, () => {
        this.#sql.run('UPDATE nodes SET agent = ?, mesh = ? WHERE id = ?', registration.agent, mesh, row.id)
      })
      void this.#mesh.publish(change)
    }
    const offers = offersText(registration.offers)
    if (row.offers !== offers) await this.#setRoutes(row, { offers })
    return this.#mesh.register(row.id, registration.at)
  }

  /** Where the log is, and how far each of these places is behind what concerns its class. */
  meshLag(places: readonly { readonly audience: number; readonly seq: number }[]): {
    readonly head: MeshPosition
    readonly lags: readonly MapLag[]
  } {
    const { log } = this.#mesh
    return {
      head: { epoch: log.epoch, seq: log.head },
      lags: places.map(({ audience, seq }) => log.lag(audience, seq)),
    }
  }

  externalPeers(after: string, limit: number): WithIpv6<ExternalPeer>[] {
    return this.#externalPeers.list(after, limit).map((peer) => this.#withIpv6(peer))
  }

  /** Lets a device without an agent into the mesh, by its WireGuard key. */
  async addExternalPeer(peer: Omit<NewExternalPeer, 'id'>): Promise<Result<WithIpv6<ExternalPeer>, Refusal>> {
    const id = await externalPeerIdOf(peer.wg)
    const results: Result<ExternalPeer, Refusal>[] = []
    const change = this.#mesh.change(id, () => {
      results.push(this.#externalPeers.add({ id, ...peer }, Date.now()))
    })
    await this.#mesh.publish(change)
    const [added] = results
    if (added === undefined) throw new Error('a peer was neither added nor refused')
    return added.ok ? ok(this.#withIpv6(added.value)) : added
  }

  /** Its peers drop it at once. */
  async removeExternalPeer(name: NodeName): Promise<ExternalPeer | undefined> {
    const peer = this.#externalPeers.byName(name)
    if (peer === undefined) return undefined
    const change = this.#mesh.change(peer.id, () => this.#externalPeers.remove(peer, Date.now()))
    await this.#mesh.publish(change, { urgent: true })
    return peer
  }

  changesSince(node: NodeId, at: MeshPosition | undefined): MeshUpdate {
    return this.#mesh.changesSince(node, at)
  }

  /** The classes that this one may speak to or hear from; null: all, since there is no policy. */
  meshSeenBy(audience: number) {
    return this.#mesh.seenBy(audience)
  }

  meshPolicy(version: number | undefined) {
    return this.#policy.get(version)
  }

  meshPolicyHistory() {
    return this.#policy.history()
  }

  testMeshPolicy(text: string) {
    return this.#policy.test(text)
  }

  setMeshPolicy(write: PolicyWrite) {
    return this.#policy.set(write)
  }

  explainMesh(question: PolicyQuestion) {
    return this.#policy.explain(question)
  }

  /** Once a minute: finishes what could not be finished at once. @returns the newest places, for the shards to compare. */
  async sweep(): Promise<MeshPlacesNow> {
    for (const { node_id } of this.#sql.all<{ node_id: NodeId }>('SELECT node_id FROM unsettled LIMIT 100')) {
      await this.#settle(node_id)
    }
    const places = await this.#mesh.sweep()
    await this.#keyEntries.addMissing()
    return places
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
      // A node that has changed its interface, and not yet been able to say so, has the announced one.
      const isItsWireguard = existing.wg_key === enrolment.wg || existing.wg_next === enrolment.wg
      if (!isItsWireguard || existing.sealing_key !== enrolment.seal) {
        return err(refusal('E_KEY_IN_USE', 'this identity is enrolled with other keys'))
      }
      return ok(this.#reply(existing))
    }
    const clash = this.#sql.first(
      'SELECT id FROM nodes WHERE wg_key = ? OR wg_next = ? OR sealing_key = ?',
      enrolment.wg,
      enrolment.wg,
      enrolment.seal,
    )
    if (clash !== undefined) return err(refusal('E_KEY_IN_USE'))

    const now = Date.now()
    const range = parseIpv4Range(this.env.FLEET_CIDR)
    if (range !== undefined && isAnyOutside(this.#sql, range)) return err(refusal('E_FLEET_CIDR_NARROWED'))
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

  /** Peers hear of it if what is routed is another now, and so does the node. */
  async #setRoutes(
    row: NodeRow,
    change: Partial<Pick<NodeRow, 'offers' | 'approved_routes'>>,
  ): Promise<NodeRow> {
    const after = { ...row, ...change }
    const heard = this.#mesh.change(row.id, () => {
      this.#sql.run(
        'UPDATE nodes SET offers = ?, approved_routes = ? WHERE id = ?',
        after.offers,
        after.approved_routes,
        row.id,
      )
    })
    void this.#mesh.publish(heard)
    if (change.approved_routes !== undefined)
      await this.#callShardOf(row.id, (shard) => shard.tellRoutes(row.id, routesOf(after)))
    return after
  }

  /** Call in the transaction that changes the node. */
  #isUnsettled(id: NodeId): void {
    this.#sql.run('INSERT INTO unsettled (node_id) VALUES (?) ON CONFLICT DO NOTHING', id)
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
      this.#mesh.publish({ heard: true, moved: false }, { urgent: true }),
      cutRelayed(this.env, node),
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
      wireguardRotating: (row.wg_rotation_until ?? 0) > Date.now(),
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
