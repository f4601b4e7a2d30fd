/**
 * The node registry of one fleet: who is enrolled, under which keys, name and address, and the log by which the mesh follows. One object,
 * one writer. It holds no socket, and is called when a node enrols, registers, changes or goes, never for a heartbeat.
 */
import { DurableObject } from 'cloudflare:workers'
import { randomBytes } from '../crypto/bytes.ts'
import { toBase32 } from '../protocol/base32.ts'
import type { Refusal } from '../protocol/errors.ts'
import type { WireguardKeyReply } from '../protocol/http.ts'
import {
  type Cidr,
  FleetId,
  type IdentityKey,
  type Ipv4,
  type NodeId,
  type NodeName,
  type Tags,
  type WireGuardKey,
} from '../protocol/ids.ts'
import type { MeshPosition } from '../protocol/mesh.ts'
import type { NodeRoutes, RouteChange } from '../protocol/node-routes.ts'
import type { TagChange } from '../protocol/node-tags.ts'
import type { Result } from '../protocol/result.ts'
import type { StoredPolicy } from '../protocol/secret-policy.ts'
import { AUDIT_OBJECT, callObject } from './call-object.ts'
import { readCounters } from './counters.ts'
import type { Env } from './env.ts'
import { type ExternalPeer, ExternalPeers, type NewExternalPeer } from './external-peers.ts'
import { FleetMesh, type MeshLag, type MeshPlacesNow } from './fleet-mesh.ts'
import type { FleetParts } from './fleet-parts.ts'
import { FleetPolicy, type PolicyQuestion, type PolicyWrite } from './fleet-policy.ts'
import { FLEET_MIGRATIONS } from './fleet-schema.ts'
import { IdentityKeys } from './identity-keys.ts'
import { KeyEntries } from './key-entries.ts'
import type { MeshUpdate } from './mesh-log.ts'
import { NodeAttributes } from './node-attributes.ts'
import { type EnrolledNode, type Enrolment, NodeEnrolment } from './node-enrolment.ts'
import type { NodeRecord } from './node-record.ts'
import { NodeRegistry } from './node-registry.ts'
import { RoutesOfNodes } from './node-routes.ts'
import { NodeShards } from './node-shards.ts'
import { NodeStanding } from './node-standing.ts'
import { Sql } from './sql.ts'
import { WireguardKeys, type WireguardUse } from './wireguard-keys.ts'

export interface Registration {
  readonly node: NodeId
  readonly agent: string
  readonly mesh: boolean
  readonly at: MeshPosition | undefined
  readonly offers: readonly Cidr[]
}

export class Fleet extends DurableObject<Env> {
  readonly #id: FleetId
  readonly #nodes: NodeRegistry
  readonly #enrolment: NodeEnrolment
  readonly #standing: NodeStanding
  readonly #attributes: NodeAttributes
  readonly #routes: RoutesOfNodes
  readonly #identityKeys: IdentityKeys
  readonly #wireguardKeys: WireguardKeys
  readonly #keyEntries: KeyEntries
  readonly #externalPeers: ExternalPeers
  readonly #mesh: FleetMesh
  readonly #policy: FleetPolicy

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const sql = new Sql(ctx.storage, FLEET_MIGRATIONS)
    const { id, epoch } = identify(sql)
    const shards = new NodeShards(env)
    this.#id = id
    this.#nodes = new NodeRegistry(sql, id)
    this.#mesh = new FleetMesh(sql, epoch, shards.count, (shard, publication) =>
      callObject(env.SESSION_SHARD, shard, (stub) => stub.publish(publication)),
    )
    this.#policy = new FleetPolicy(sql, this.#mesh)
    this.#keyEntries = new KeyEntries(sql, (events) =>
      callObject(env.AUDIT_LOG, AUDIT_OBJECT, (log) => log.append(events)),
    )
    const parts: FleetParts = { id, env, sql, nodes: this.#nodes, mesh: this.#mesh, shards }
    this.#externalPeers = new ExternalPeers(parts)
    this.#enrolment = new NodeEnrolment(parts, this.#externalPeers, this.#keyEntries)
    this.#standing = new NodeStanding(parts)
    this.#attributes = new NodeAttributes(parts)
    this.#routes = new RoutesOfNodes(parts)
    this.#identityKeys = new IdentityKeys(parts)
    this.#wireguardKeys = new WireguardKeys(parts)
  }

  identity(): { readonly id: FleetId } {
    return { id: this.#id }
  }

  nodeOfKey(identity: IdentityKey): Promise<NodeRecord | undefined> {
    return this.#nodes.ofKey(identity)
  }

  node(id: NodeId): NodeRecord | undefined {
    return this.#nodes.get(id)
  }

  nodeByName(name: NodeName): NodeRecord | undefined {
    return this.#nodes.byName(name)
  }

  /** In their order; undefined for a name that no node has. */
  nodesByName(names: readonly NodeName[]): (Pick<NodeRecord, 'id' | 'name'> | undefined)[] {
    return names.map((name) => {
      const node = this.#nodes.byName(name)
      return node && { id: node.id, name: node.name }
    })
  }

  list(after: string, limit: number): NodeRecord[] {
    return this.#nodes.list(after, limit)
  }

  readers(policy: StoredPolicy): NodeRecord[] {
    return this.#nodes.readers(policy)
  }

  enrol(enrolment: Enrolment): Promise<Result<EnrolledNode, Refusal>> {
    return this.#enrolment.enrol(enrolment)
  }

  remove(name: NodeName): Promise<NodeRecord | undefined> {
    return this.#standing.remove(name)
  }

  leave(id: NodeId): Promise<boolean> {
    return this.#standing.leave(id)
  }

  hold(id: NodeId, reason: string | null): Promise<void> {
    return this.#standing.hold(id, reason)
  }

  setTags(id: NodeId, change: TagChange): Promise<Result<Tags, Refusal>> {
    return this.#attributes.setTags(id, change)
  }

  setAddress(id: NodeId, ip4: Ipv4): Promise<Result<Ipv4, Refusal>> {
    return this.#attributes.setAddress(id, ip4)
  }

  /** A session begins: what the node must know of the mesh. Writes a row only if the node is not as it was. */
  async register(registration: Registration): Promise<MeshUpdate | undefined> {
    const row = this.#nodes.memberRow(registration.node)
    if (row === undefined || row.quarantine !== null) return undefined
    this.#attributes.noteSession(row, registration)
    await this.#routes.offer(row, registration.offers)
    return this.#mesh.register(row.id, registration.at)
  }

  routes(id: NodeId): NodeRoutes | undefined {
    return this.#routes.of(id)
  }

  routedTo(id: NodeId): Cidr[] {
    return this.#routes.routedTo(id)
  }

  changeRoutes(id: NodeId, change: RouteChange): Promise<Result<NodeRoutes, Refusal>> {
    return this.#routes.change(id, change)
  }

  allowRotation(id: NodeId): Promise<void> {
    return this.#identityKeys.ask(id)
  }

  rotateIdentity(id: NodeId, identity: IdentityKey, entry: number): Promise<Result<IdentityKey, Refusal>> {
    return this.#identityKeys.rotate(id, identity, entry)
  }

  askWireguardRotation(id: NodeId): Promise<void> {
    return this.#wireguardKeys.ask(id)
  }

  announceWireguard(id: NodeId, key: WireGuardKey): Promise<Result<WireguardKeyReply, Refusal>> {
    return this.#wireguardKeys.announce(id, key)
  }

  useWireguard(id: NodeId, use: WireguardUse): Promise<Result<WireguardKeyReply, Refusal>> {
    return this.#wireguardKeys.use(id, use)
  }

  /** Audit entries below this have left the gateway. */
  renewKeyEntries(below: number): Promise<void> {
    return this.#keyEntries.renew(below)
  }

  externalPeers(after: string, limit: number): ExternalPeer[] {
    return this.#externalPeers.list(after, limit)
  }

  addExternalPeer(peer: NewExternalPeer): Promise<Result<ExternalPeer, Refusal>> {
    return this.#externalPeers.add(peer)
  }

  removeExternalPeer(name: NodeName): Promise<ExternalPeer | undefined> {
    return this.#externalPeers.remove(name)
  }

  mayTalk(a: NodeId, b: NodeId): boolean {
    return this.#mesh.mayTalk(a, b)
  }

  relayable(node: NodeId, peers: readonly NodeId[]): NodeId[] {
    return this.#mesh.relayable(node, peers)
  }

  changesSince(node: NodeId, at: MeshPosition | undefined): MeshUpdate {
    return this.#mesh.changesSince(node, at)
  }

  /** The classes that this one may speak to or hear from; null: all, since there is no policy. */
  meshSeenBy(audience: number) {
    return this.#mesh.seenBy(audience)
  }

  meshLag(places: Parameters<FleetMesh['lag']>[0]): MeshLag {
    return this.#mesh.lag(places)
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
    await this.#standing.settleAll()
    const places = await this.#mesh.sweep()
    await this.#keyEntries.addMissing()
    return places
  }

  counters() {
    return readCounters()
  }
}

function identify(sql: Sql): { readonly id: FleetId; readonly epoch: string } {
  const stored = sql.first<{ id: string; epoch: string }>('SELECT id, epoch FROM fleet')
  if (stored !== undefined) return { id: FleetId.parse(stored.id), epoch: stored.epoch }
  const id = FleetId.parse(toBase32(randomBytes(16)))
  // Short, because every mesh frame carries it; it need only differ from the epochs of logs before this one.
  const epoch = toBase32(randomBytes(5))
  sql.run('INSERT INTO fleet (one, id, epoch) VALUES (1, ?, ?)', id, epoch)
  return { id, epoch }
}
