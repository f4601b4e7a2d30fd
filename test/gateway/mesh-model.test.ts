/**
 * The mesh's part of the registry and of the shards, on real SQLite, against what a policy says: whatever joins, leaves, is tagged, held, cut off
 * or set, and whatever publication is lost, each connected node ends with the map and the rules that are its own, and without a second snapshot.
 */
import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Attachment } from '../../durable-objects/attachment.ts'
import { FleetMesh } from '../../durable-objects/fleet-mesh.ts'
import { FleetPolicy } from '../../durable-objects/fleet-policy.ts'
import { FLEET_MIGRATIONS, type NodeRow } from '../../durable-objects/fleet-schema.ts'
import { audienceOf, isBehind, MeshDelivery } from '../../durable-objects/mesh-delivery.ts'
import { isMember, peerOf, policyNodeOf } from '../../durable-objects/mesh-frames.ts'
import { MeshListeners } from '../../durable-objects/mesh-listeners.ts'
import type { Sessions } from '../../durable-objects/sessions.ts'
import { Sql } from '../../durable-objects/sql.ts'
import { NodeId } from '../../protocol/ids.ts'
import { MeshChanges, type MeshPeer, type MeshPosition, type MeshRule } from '../../protocol/mesh.ts'
import { compilePolicy } from '../../protocol/mesh-policy-compile.ts'
import { allShardNames, shardName } from '../../protocol/shard.ts'

const SHARDS = 2
const TAGS = ['x', 'y', 'z'] as const
const IDS = Array.from({ length: 6 }, (_, n) => NodeId.parse(`${'abcdefgh'[n]}`.repeat(25) + 'abcd'[n % 4]))

/** What a node keeps over its sessions, and checks of what it is sent: only what begins where it is. */
class TestMap {
  position: MeshPosition | undefined
  peers = new Map<NodeId, MeshPeer>()
  rules: readonly MeshRule[] | null = null
  #parts: MeshChanges[] = []

  receive(text: string): void {
    const { type: _, ...rest } = JSON.parse(text)
    const changes = MeshChanges.parse(rest)
    if (changes.from !== undefined)
      expect({ epoch: changes.epoch, seq: changes.from }, 'a delta begins where its receiver is').toEqual(
        this.position,
      )
    this.#parts.push(changes)
    if (changes.more !== undefined) return
    const peers = changes.from === undefined ? new Map<NodeId, MeshPeer>() : new Map(this.peers)
    let rules = changes.from === undefined ? null : this.rules
    for (const part of this.#parts) {
      for (const id of part.del ?? []) peers.delete(id)
      for (const peer of part.put ?? []) peers.set(peer.id, peer)
      if (part.rules !== undefined) rules = part.rules
    }
    this.#parts = []
    if (changes.from !== undefined && changes.to < changes.from) throw new Error('a delta leads back')
    Object.assign(this, { peers, rules, position: { epoch: changes.epoch, seq: changes.to } })
  }

  /** A session that broke off in the middle of something. */
  cut(): void {
    this.#parts = []
  }
}

class FakeSocket {
  readonly map: TestMap
  constructor(map: TestMap) {
    this.map = map
  }
  send(text: string): void {
    this.map.receive(text)
  }
}

class FakeSessions {
  readonly listeners = new MeshListeners()
  readonly #attachments = new Map<WebSocket, Attachment>()

  get(socket: WebSocket): Attachment | undefined {
    return this.#attachments.get(socket)
  }

  of(node: NodeId): WebSocket[] {
    return [...this.#attachments].filter(([, one]) => one.node === node).map(([socket]) => socket)
  }

  update(socket: WebSocket, change: Partial<Attachment>): void {
    const next = { ...this.#attachments.get(socket), ...change } as Attachment
    this.#attachments.set(socket, next)
    this.listeners.note(socket, next)
  }

  end(socket: WebSocket): void {
    const { mesh: _, ...rest } = this.#attachments.get(socket) as Attachment
    this.listeners.note(socket, { ...rest, state: 'closing' })
    this.#attachments.delete(socket)
  }

  all(): [WebSocket, Attachment][] {
    return [...this.#attachments]
  }
}

class World {
  readonly maps = new Map(IDS.map((id) => [id, new TestMap()]))
  readonly sockets = new Map<NodeId, WebSocket>()
  readonly #sql: Sql
  readonly #shards = new Map<string, { sessions: FakeSessions; delivery: MeshDelivery }>()
  #mesh: FleetMesh
  #policy: FleetPolicy
  losing = false
  /** Something may have been missed: only then has a sweep anything to mend. */
  mayHaveMissed = false
  snapshots = 0
  allowedSnapshots = 0

  constructor(storage: DurableObjectStorage) {
    this.#sql = new Sql(storage, FLEET_MIGRATIONS)
    for (const table of ['nodes', 'mesh_log', 'mesh_policies', 'mesh_classes', 'mesh_moves'])
      this.#sql.run(`DELETE FROM ${table}`)
    IDS.forEach((id, n) => {
      this.#sql.run(
        `INSERT INTO nodes (id, name, identity_key, wg_key, sealing_key, ipv4, tags, agent, created_at)
         VALUES (?, ?, ?, ?, ?, ?, '[]', 'test', 0)`,
        id,
        `n${n}`,
        `i${n}`,
        `${'w'.repeat(42)}${'AEIMQU'[n]}`,
        `${'s'.repeat(42)}${'AEIMQU'[n]}`,
        n + 1,
      )
    })
    this.#mesh = this.#open()
    this.#policy = new FleetPolicy(this.#sql, this.#mesh)
    for (const name of allShardNames(SHARDS)) {
      const sessions = new FakeSessions()
      const delivery = new MeshDelivery(sessions as unknown as Sessions, {
        changesSince: async (node, at) => this.#counted(this.#mesh.changesSince(node, at)),
        seenBy: async (audience) => this.#mesh.seenBy(audience),
      })
      this.#shards.set(name, { sessions, delivery })
    }
  }

  #open(): FleetMesh {
    return new FleetMesh(this.#sql, 'e', SHARDS, async (shard, publication) => {
      if (this.losing) {
        this.mayHaveMissed = true
        throw new Error('lost')
      }
      const copy = structuredClone(publication)
      return this.#shard(shard).delivery.publish(copy)
    })
  }

  #shard(name: string) {
    const shard = this.#shards.get(name)
    if (shard === undefined) throw new Error('no such shard')
    return shard
  }

  #counted<T extends { readonly snapshot: boolean }>(update: T): T {
    if (update.snapshot) this.snapshots += 1
    return update
  }

  row(id: NodeId): NodeRow {
    const row = this.#sql.first<NodeRow>('SELECT * FROM nodes WHERE id = ?', id)
    if (row === undefined) throw new Error('no such node')
    return row
  }

  restart(): void {
    this.mayHaveMissed = true
    this.#mesh = this.#open()
    this.#policy = new FleetPolicy(this.#sql, this.#mesh)
  }

  async change(id: NodeId, query: string, ...bindings: (string | number | null)[]): Promise<void> {
    await this.#mesh.publish(this.#mesh.change(id, () => this.#sql.run(query, ...bindings, id)))
  }

  async connect(id: NodeId): Promise<void> {
    this.disconnect(id)
    const { quarantine, mesh } = this.row(id)
    if (quarantine !== null) return
    const map = this.maps.get(id)
    if (map === undefined) return
    map.cut()
    if (map.position === undefined || mesh === 0) this.allowedSnapshots += 1
    await this.change(id, 'UPDATE nodes SET mesh = 1 WHERE id = ?')
    const { sessions, delivery } = this.#shard(shardName(id, SHARDS))
    const update = this.#counted(this.#mesh.register(id, map.position))
    const socket = new FakeSocket(map) as unknown as WebSocket
    const attachment = { v: 2, node: id, session: '', proof: '', openedAt: 0, seenAt: 0, violations: 0 }
    sessions.update(socket, {
      ...attachment,
      state: 'live',
      mesh: update.position,
      audience: update.audience,
    } as unknown as Attachment)
    this.sockets.set(id, socket)
    delivery.send(socket, update)
    await delivery.catchUp(socket)
  }

  disconnect(id: NodeId): void {
    const socket = this.sockets.get(id)
    this.sockets.delete(id)
    if (socket !== undefined) this.#shard(shardName(id, SHARDS)).sessions.end(socket)
  }

  /** The same policy but for its ports: nobody comes into sight or goes out of it. */
  async setPorts(ports: string): Promise<void> {
    const document = this.#mesh.policies.current?.document
    if (document === undefined) return
    const rules = document.rules.map((one) => ({
      ...one,
      dst: one.dst.map((to) => to.replace(/[^:]+$/, ports)),
    }))
    await this.setPolicy({ ...document, rules })
  }

  async setPolicy(document: object): Promise<void> {
    const set = await this.#policy.set({
      text: JSON.stringify(document),
      cas: this.#mesh.policies.newest,
      actor: 'test',
    })
    expect(set).toMatchObject({ ok: true })
  }

  async sweep(): Promise<void> {
    const { epoch, places } = await this.#mesh.sweep()
    const newest = new Map(places.map(({ audience, seq }) => [audience, seq]))
    for (const { sessions, delivery } of this.#shards.values())
      for (const [socket, session] of sessions.all())
        if (session.mesh && isBehind(session.mesh, epoch, newest.get(audienceOf(session)))) {
          expect(this.mayHaveMissed, 'somebody is behind').toBe(true)
          await delivery.catchUp(socket)
        }
    this.mayHaveMissed = false
  }

  /** Each connected node's map and rules, as the policy has them; nodes' classes only have to tell apart what it tells apart. */
  check(): void {
    const policy = this.#mesh.policies.current?.bound
    const members = IDS.map((id) => this.row(id)).filter(isMember)
    const classes = new Map(
      members.map((row) => [row.class ?? 0, policy?.membershipOf(policyNodeOf(row)) ?? new Set<string>()]),
    )
    const compiled = policy && compilePolicy(policy, classes)
    for (const [id] of this.sockets) {
      const map = this.maps.get(id)
      const row = this.row(id)
      if (!isMember(row)) continue
      const audience = row.class ?? 0
      const seen = members.filter(
        (other) => compiled === undefined || compiled.sees(audience).has(other.class ?? 0),
      )
      const peers = new Map(seen.map((other) => [other.id, peerOf(other)]))
      expect(map?.peers, `what node ${row.name} sees`).toEqual(peers)
      expect(map && letIn(map.rules, classes.keys()), `whom node ${row.name} lets in`).toEqual(
        letIn(compiled?.rulesOf(audience) ?? null, classes.keys()),
      )
    }
    expect(this.snapshots).toBeLessThanOrEqual(this.allowedSnapshots)
  }
}

const QUERIES = ['tcp 22', 'tcp 80', 'tcp 443', 'udp 22', 'icmp'] as const

/** Who of these classes may come in, and where; rules may also speak of classes that no node is of any more. Null without a policy. */
function letIn(rules: readonly MeshRule[] | null, classes: Iterable<number>): string[] | null {
  if (rules === null) return null
  return [...classes].flatMap((audience) =>
    QUERIES.filter((query) => {
      const [proto, port] = query.split(' ')
      const allows = rules.filter(({ from }) => from.includes(audience)).flatMap(({ allow }) => allow)
      return allows.some(
        (one) =>
          (one.proto === 'any' || one.proto === proto) &&
          (one.ports === undefined || one.ports.some(([a, b]) => a <= Number(port) && Number(port) <= b)),
      )
    }).map((query) => `${audience} ${query}`),
  )
}

const node = fc.constantFrom(...IDS)
const selector = fc.constantFrom('*', 'tag:x', 'tag:y', 'tag:z', 'node:n0', 'node:n1', 'group:g')
const policy = fc.record({
  groups: fc.record({ g: fc.subarray(['tag:x', 'node:n2', 'node:n3']) }),
  rules: fc.array(
    fc.record({
      src: fc.array(selector, { minLength: 1, maxLength: 2 }),
      dst: fc.array(
        fc.tuple(selector, fc.constantFrom('22', '80', '*')).map(([one, ports]) => `${one}:${ports}`),
        { minLength: 1, maxLength: 2 },
      ),
    }),
    { maxLength: 3 },
  ),
})
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('connect' as const), node }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('disconnect' as const), node }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), node }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('tag' as const), node, tags: fc.subarray([...TAGS]) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hold' as const), node }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), node }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('policy' as const), policy }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('ports' as const), ports: fc.constantFrom('22', '80', '*') }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('sweep' as const) }) },
)

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

async function run(world: World, one: Step): Promise<void> {
  switch (one.do) {
    case 'connect':
      return world.connect(one.node)
    case 'disconnect':
      return world.disconnect(one.node)
    case 'leave':
      world.disconnect(one.node)
      return world.change(one.node, 'UPDATE nodes SET mesh = 0 WHERE id = ?')
    case 'tag':
      return world.change(one.node, 'UPDATE nodes SET tags = ? WHERE id = ?', JSON.stringify(one.tags))
    case 'hold':
      world.disconnect(one.node)
      return world.change(one.node, "UPDATE nodes SET quarantine = 'held' WHERE id = ?")
    case 'release':
      return world.change(one.node, 'UPDATE nodes SET quarantine = NULL WHERE id = ?')
    case 'policy':
      return world.setPolicy(one.policy)
    case 'ports':
      return world.setPorts(one.ports)
    case 'restart':
      return world.restart()
    case 'lose':
      world.losing = !world.losing
      return
    default:
      if (world.losing) return
      await world.sweep()
      return world.check()
  }
}

/** A node gets another class, misses what follows, and must not keep the rules of the class it has for those of the class it had. */
const [N0, N1, , N3] = IDS as [NodeId, NodeId, NodeId, NodeId]
const RULES_OF_TWO_CLASSES: Step[] = [
  {
    do: 'policy',
    policy: {
      groups: { g: [] },
      rules: [
        { src: ['node:n1'], dst: ['*:22'] },
        { src: ['node:n1'], dst: ['tag:y:*'] },
      ],
    },
  },
  { do: 'connect', node: N3 },
  { do: 'tag', node: N3, tags: ['y'] },
  { do: 'connect', node: N1 },
  { do: 'restart' },
  { do: 'connect', node: N0 },
  { do: 'ports', ports: '22' },
]

/** A tag that no other node has is given to a node that is not there yet, and it comes in as what it was: the new class begins when its first node comes. */
const CLASS_BEFORE_ITS_NODE: Step[] = [
  {
    do: 'policy',
    policy: {
      groups: { g: ['node:n3'] },
      rules: [
        { src: ['tag:z'], dst: ['*:22'] },
        { src: ['group:g'], dst: ['*:22'] },
      ],
    },
  },
  { do: 'connect', node: N1 },
  { do: 'restart' },
  { do: 'tag', node: N0, tags: ['z'] },
  { do: 'tag', node: N0, tags: [] },
  { do: 'connect', node: N0 },
  { do: 'tag', node: N0, tags: ['z'] },
]

/** The first node of a class is placed where the class begins, or what it misses is worked out from a class that saw nothing. */
const NODE_BEFORE_ITS_CLASS: Step[] = [
  { do: 'connect', node: N1 },
  { do: 'policy', policy: { groups: { g: [] }, rules: [{ src: ['tag:x'], dst: ['node:n1:22'] }] } },
  { do: 'tag', node: N0, tags: ['x'] },
  { do: 'connect', node: N0 },
  { do: 'lose' },
  { do: 'policy', policy: { groups: { g: [] }, rules: [] } },
  { do: 'connect', node: N0 },
  { do: 'ports', ports: '22' },
]

const inFleet = (work: (storage: DurableObjectStorage) => Promise<void>): Promise<void> =>
  runInDurableObject(env.FLEET.getByName('model'), (_, state) => work(state.storage))

describe('nodes that follow the mesh by classes', () => {
  it('end with what the policy lets them see, whatever happens', async () => {
    await inFleet((storage) =>
      fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
          const world = new World(storage)
          for (const one of steps) await run(world, one)
          world.losing = false
          await world.sweep()
          world.check()
        }),
        {
          numRuns: 1000,
          examples: [[RULES_OF_TWO_CLASSES], [CLASS_BEFORE_ITS_NODE], [NODE_BEFORE_ITS_CLASS]],
        },
      ),
    )
  })
})
