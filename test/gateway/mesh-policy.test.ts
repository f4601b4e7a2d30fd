import { createExecutionContext, evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { FLEET_OBJECT } from '../../durable-objects/call-object.ts'
import { type NodeId, Tags } from '../../protocol/ids.ts'
import { MESH_POLICY_KEEP } from '../../protocol/limits.ts'
import {
  type MeshChanges,
  MeshChanges as MeshChangesSchema,
  type MeshPeer,
  type MeshRule,
} from '../../protocol/mesh.ts'
import type { MeshPolicyDocument } from '../../protocol/mesh-policy.ts'
import {
  MeshPolicyExplainReply,
  MeshPolicyHistory,
  MeshPolicyReply,
  MeshPolicySetReply,
  MeshPolicyTestReply,
} from '../../protocol/mesh-policy-api.ts'
import { allShardNames } from '../../protocol/shard.ts'
import { app } from '../../worker/app.ts'
import {
  admin,
  auditEntries,
  enrolled,
  migrate,
  ORIGIN,
  refusalOf,
  type TestNode,
  type TestSession,
} from './support.ts'

beforeAll(migrate)

const PATH = '/v1/mesh/policy'
const current = async () => MeshPolicyReply.parse(await (await admin('GET', PATH)).json())
const put = (policy: unknown, cas: number) => admin('PUT', `${PATH}?cas=${cas}`, policy as object)
async function setPolicy(policy: MeshPolicyDocument) {
  const { version } = await current()
  return MeshPolicySetReply.parse(await (await put(policy, version)).json())
}
const tryOut = async (policy: unknown) =>
  MeshPolicyTestReply.parse(await (await admin('POST', `${PATH}/test`, policy as object)).json())
const explain = async (query: string) =>
  MeshPolicyExplainReply.parse(await (await admin('GET', `${PATH}/explain?${query}`)).json())
const counters = async () => (await env.FLEET.getByName(FLEET_OBJECT).counters()).counters
const tag = (name: string, tags: string[]) => admin('PATCH', `/v1/nodes/${name}`, { tags })

/** A node that follows the mesh, as an agent does. */
class Follower {
  readonly node: TestNode
  session: TestSession
  at: { epoch: string; seq: number } | undefined
  peers = new Map<NodeId, MeshPeer>()
  rules: MeshRule[] | null = null

  constructor(node: TestNode, session: TestSession) {
    this.node = node
    this.session = session
  }

  static async join(name: string, tags: readonly string[] = []): Promise<Follower> {
    const node = await enrolled(name, { tags: Tags.parse(tags) })
    return new Follower(node, await node.connect())
  }

  async reconnect(): Promise<void> {
    this.session = await this.node.connect(this.at === undefined ? {} : { at: this.at })
  }

  /** Everything that was sent so far. A pong overtakes nothing. */
  async drain(): Promise<MeshChanges[]> {
    this.session.send('ping')
    const all: MeshChanges[] = []
    for (let raw = await this.session.nextRaw(); raw !== 'pong'; raw = await this.session.nextRaw()) {
      const { type, ...frame } = JSON.parse(String(raw))
      if (type !== 'mesh') continue
      const changes = MeshChangesSchema.parse(frame)
      all.push(changes)
      this.#fold(changes)
    }
    return all
  }

  /** Joins of others wait for their window. */
  async comesToSee(peers: number): Promise<void> {
    const count = async () => {
      await this.drain()
      return this.peers.size
    }
    await expect.poll(count, { interval: 20, timeout: 5_000 }).toBe(peers)
  }

  #fold({ epoch, from, to, put: peers = [], del = [], rules }: MeshChanges): void {
    if (from === undefined) this.peers.clear()
    else expect(from).toBe(this.at?.seq)
    for (const peer of peers) this.peers.set(peer.id, peer)
    for (const id of del) this.peers.delete(id)
    if (rules !== undefined) this.rules = rules
    this.at = { epoch, seq: to }
  }

  get sees(): string[] {
    return [...this.peers.values()].map(({ name }) => name as string).toSorted()
  }

  /** Ports that are open to the other, as `tcp 22-22`. */
  open(other: Follower): string[] {
    const audience = this.peers.get(other.node.id)?.class ?? 0
    const rules = this.rules?.filter(({ from }) => from.includes(audience)) ?? []
    return rules.flatMap(({ allow }) =>
      allow.map(({ proto, ports }) => [proto, ...(ports ?? []).map(([a, b]) => `${a}-${b}`)].join(' ')),
    )
  }
}

async function drainAll(...followers: Follower[]): Promise<MeshChanges[][]> {
  return Promise.all(followers.map((one) => one.drain()))
}

describe('the mesh under a policy', () => {
  it('goes from everybody to whom the policy names, by differences, one encoding a class and no whole map', async () => {
    const [t1, t2] = [await Follower.join('t1', ['train']), await Follower.join('t2', ['train'])]
    const [db, web] = [await Follower.join('db', ['db']), await Follower.join('web')]
    const all = [t1, t2, db, web]
    // What gathered in a window is there when each sees all.
    for (const one of all) await one.comesToSee(4)
    expect(await current()).toMatchObject({ version: 0, policy: null })
    expect(t1.rules).toBeNull()

    const before = await counters()
    const first = { rules: [{ src: ['tag:train'], dst: ['tag:db:5432,22'], proto: 'tcp' as const }] }
    expect(await setPolicy(first)).toEqual({ version: 1, classes: 3 })
    const frames = await drainAll(...all)
    expect(frames.map((sent) => sent.length)).toEqual([1, 1, 1, 1])
    expect(all.map((one) => one.sees)).toEqual([['db'], ['db'], ['t1', 't2'], []])
    expect([t1.rules, web.rules]).toEqual([[], []])
    expect(db.open(t1)).toEqual(['tcp 22-22 5432-5432'])
    expect(t1.open(db)).toEqual([])
    const after = await counters()
    expect(after.mesh_snapshots_built).toBe(before.mesh_snapshots_built)
    expect(after.mesh_snapshots_sent).toBe(before.mesh_snapshots_sent)
    expect(after.mesh_deltas_encoded - before.mesh_deltas_encoded).toBe(3)

    // A port is taken away: whom it does not concern hears nothing.
    await setPolicy({ rules: [{ src: ['tag:train'], dst: ['tag:db:5432'], proto: 'tcp' }] })
    const edited = await drainAll(...all)
    expect(edited.map((sent) => sent.length)).toEqual([0, 0, 1, 0])
    expect(edited[2]?.[0]).not.toHaveProperty('put')
    expect(db.open(t1)).toEqual(['tcp 5432-5432'])
    expect((await counters()).mesh_deltas_encoded - after.mesh_deltas_encoded).toBe(1)

    // A tag is given: the node sees what it may reach, that one sees it, and nobody else hears of it.
    await tag('web', ['train'])
    const tagged = await drainAll(...all)
    expect(tagged.map((sent) => sent.length)).toEqual([0, 0, 1, 1])
    expect([db.sees, web.sees]).toEqual([['t1', 't2', 'web'], ['db']])
    expect(db.open(web)).toEqual(['tcp 5432-5432'])

    // And taken away, at once although a window is open.
    await tag('web', ['idle'])
    await drainAll(...all)
    expect([db.sees, web.sees]).toEqual([['t1', 't2'], []])

    // A node of a kind that there was none of yet: the receiver's rules speak of its class from then on.
    const both = await Follower.join('both', ['train', 'db'])
    await both.comesToSee(4)
    expect(both.sees).toEqual(['both', 'db', 't1', 't2'])
    expect((await counters()).mesh_snapshots_sent).toBe(after.mesh_snapshots_sent + 1)
    await db.comesToSee(3)
    await t1.comesToSee(2)
    expect(db.open(both)).toEqual(['tcp 5432-5432'])
    expect(t1.sees).toEqual(['both', 'db'])

    for (const one of [...all, both]) one.session.close()
  })

  it('brings a node up to date that was away while the policy and its own tags changed, without a whole map', async () => {
    const names = ['r1', 'r2', 'r3'] as const
    const followers: Follower[] = []
    await setPolicy({ rules: [{ src: ['tag:ra'], dst: ['tag:rb:22'] }] })
    for (const [index, name] of names.entries())
      followers.push(await Follower.join(name, [['ra', 'rb', 'rc'][index] ?? '']))
    const [r1, r2, r3] = followers as [Follower, Follower, Follower]
    await r1.comesToSee(1)
    expect(r1.sees).toEqual(['r2'])
    r1.session.close()

    await setPolicy({ rules: [{ src: ['tag:ra'], dst: ['tag:rc:80'], proto: 'tcp' }] })
    const before = await counters()
    await r1.reconnect()
    const sent = await r1.drain()
    expect(sent).toHaveLength(1)
    expect(sent[0]).toMatchObject({ from: expect.any(Number), del: [r2.node.id], put: [{ name: 'r3' }] })
    r1.session.close()

    await tag('r1', ['rc'])
    await tag('r2', ['ra'])
    await r1.reconnect()
    await r1.drain()
    expect(r1.sees).toEqual(['r2'])
    await drainAll(r2, r3)
    expect(r1.open(r2)).toEqual(['tcp 80-80'])
    expect((await counters()).mesh_snapshots_sent).toBe(before.mesh_snapshots_sent)

    // Nothing has changed: nothing is sent, and it is not asked for either.
    r1.session.close()
    await r1.reconnect()
    expect(await r1.drain()).toEqual([])
    for (const one of followers) one.session.close()
  })

  it('goes on where it was after the registry and the shards were gone', async () => {
    await setPolicy({ rules: [{ src: ['tag:ea'], dst: ['tag:eb:*'] }] })
    const [a, b] = [await Follower.join('e1', ['ea']), await Follower.join('e2', ['eb'])]
    await a.comesToSee(1)
    await b.drain()
    const before = await counters()
    await evictDurableObject(env.FLEET.getByName(FLEET_OBJECT))
    for (const shard of allShardNames(4)) await evictDurableObject(env.SESSION_SHARD.getByName(shard))
    await setPolicy({ rules: [{ src: ['tag:ea'], dst: ['tag:eb:22'], proto: 'tcp' }] })
    expect((await drainAll(a, b)).map((sent) => sent.length)).toEqual([0, 1])
    expect(b.open(a)).toEqual(['tcp 22-22'])
    expect((await counters()).mesh_snapshots_sent).toBe(before.mesh_snapshots_sent)
    a.session.close()
    b.session.close()
  })

  it('tells a node that lost its class meanwhile with the sweep, if its shard did not hear of it', async () => {
    await setPolicy({ rules: [{ src: ['tag:la'], dst: ['tag:lb:*'] }] })
    const [a, b] = [await Follower.join('l1', ['la']), await Follower.join('l2', ['lb'])]
    await a.comesToSee(1)
    // The object went between the change and its publication: the row of the move is all there is.
    const fleet = env.FLEET.getByName(FLEET_OBJECT)
    await runInDurableObject(fleet, (_, { storage }) => {
      storage.sql.exec(
        'UPDATE nodes SET class = 0, class_since = (SELECT MAX(seq) + 1 FROM mesh_log) WHERE id = ?',
        a.node.id,
      )
      storage.sql.exec(
        "INSERT INTO mesh_log (node_id, was) SELECT ?, id FROM mesh_classes WHERE members = 'tag:la'",
        a.node.id,
      )
      storage.sql.exec('INSERT INTO mesh_moves (node_id) VALUES (?)', a.node.id)
    })
    await evictDurableObject(fleet)
    await fleet.sweep()
    await a.drain()
    expect(a.sees).toEqual([])
    await runInDurableObject(fleet, (_, { storage }) => {
      expect(storage.sql.exec('SELECT * FROM mesh_moves').toArray()).toEqual([])
    })
    a.session.close()
    b.session.close()
  })
})

describe('signals under a policy', () => {
  it('reach only whom the sender may speak to or hear from; others are dropped and counted', async () => {
    await setPolicy({ rules: [{ src: ['tag:sa'], dst: ['tag:sb:22'] }] })
    const [a, b, c] = [
      await Follower.join('s1', ['sa']),
      await Follower.join('s2', ['sb']),
      await Follower.join('s3', ['sc']),
    ]
    await a.comesToSee(1)
    for (const shard of allShardNames(4)) await evictDurableObject(env.SESSION_SHARD.getByName(shard))
    const before = await counters()
    const send = (from: Follower, ...to: Follower[]) =>
      from.session.send({
        type: 'signal',
        signals: to.map(({ node }) => ({ to: node.id, sealed: 'sealed' })),
      })
    send(c, a, b)
    send(a, c, b)
    expect(await b.session.next('signal')).toMatchObject({ from: a.node.id })
    send(b, c, a)
    expect(await a.session.next('signal')).toMatchObject({ from: b.node.id })
    await expect.poll(async () => (await counters()).signals_refused - before.signals_refused).toBe(4)
    expect((await counters()).signals_routed - before.signals_routed).toBe(2)
    for (const one of [a, b, c]) one.session.close()
  })
})

describe('setting the policy', () => {
  const open = { rules: [{ src: ['*'], dst: ['*:*'] }] }

  it('replaces the version that it names and no other', async () => {
    const { version } = await current()
    const replies = await Promise.all([put(open, version), put(open, version), put(open, version + 5)])
    expect(replies.map(({ status }) => status).toSorted()).toEqual([200, 409, 409])
    expect(await refusalOf(await put(open, version))).toEqual({ status: 409, code: 'E_MESH_POLICY_CAS' })
    expect(await refusalOf(await admin('PUT', PATH, open))).toEqual({ status: 400, code: 'E_QUERY_INVALID' })
    expect((await current()).version).toBe(version + 1)
  })

  it('is recorded first, with who did it, and what became of it', async () => {
    const { version } = await current()
    await put(open, version)
    expect((await auditEntries(1))[0]).toMatchObject({
      actor: 'admin:root',
      action: 'mesh.policy.set',
      target: 'mesh:policy',
      outcome: 'allowed',
      detail: { replaces: version, rules: 1, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    })
    await put(open, version)
    expect((await auditEntries(1))[0]).toMatchObject({ outcome: 'failed', reason: 'E_MESH_POLICY_CAS' })
    const append = () => Promise.reject(new Error('down'))
    const request = new Request(`${ORIGIN}${PATH}?cas=${version + 1}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${env.TEST_ADMIN_TOKEN}` },
      body: JSON.stringify(open),
    })
    const bindings = { ...env, AUDIT_LOG: { getByName: () => ({ append }) } }
    expect((await app.fetch(request, bindings, createExecutionContext())).status).toBe(500)
    expect((await current()).version).toBe(version + 1)
  })

  it('names every problem, with its place, and changes nothing', async () => {
    const { version } = await current()
    const wrong = {
      rules: [
        { src: ['tag:A'], dst: ['*:0', 'node:nobody:22'] },
        { src: ['*'], dst: ['*:1'], x: 1 },
      ],
    }
    const reply = await put(wrong, version)
    expect(await reply.clone().json()).toMatchObject({
      code: 'E_MESH_POLICY_INVALID',
      detail: 'rules[1].x: there is no such field',
    })
    const named = { rules: [{ src: ['tag:A'], dst: ['*:0'] }] }
    const { detail } = (await (await put(named, version)).json()) as { detail: string }
    expect(detail.split('\n').map((line) => line.split(':')[0])).toEqual([
      'rules[0].src[0]',
      'rules[0].dst[0]',
    ])
    const unknown = {
      groups: { g: ['node:nobody'] },
      rules: [{ src: ['group:g'], dst: ['node:nowhere:22'] }],
    }
    expect((await tryOut(unknown)).problems).toEqual([
      { at: 'groups.g[0]', kind: 'node', message: 'there is no node nobody' },
      { at: 'rules[0].dst[0]', kind: 'node', message: 'there is no node nowhere' },
    ])
    expect(await refusalOf(await put(unknown, version))).toEqual({
      status: 400,
      code: 'E_MESH_POLICY_INVALID',
    })
    expect((await current()).version).toBe(version)
  })

  it('takes no document that fails its own tests', async () => {
    const { version } = await current()
    const failing = {
      rules: [{ src: ['tag:a'], dst: ['tag:b:22'] }],
      tests: [{ from: 'tag:a', to: 'tag:b', accept: ['tcp:22'], deny: ['udp:22'] }],
    }
    expect(await (await put(failing, version)).json()).toMatchObject({
      status: 409,
      code: 'E_MESH_POLICY_TEST',
      detail: expect.stringMatching(/^tests\[0\].deny\[0\]: rules\[0\] allows a node with the tag a alone/),
    })
    expect(await tryOut(failing)).toMatchObject({ tests: 1, problems: [{ kind: 'test' }], changes: null })
    expect((await current()).version).toBe(version)
  })

  it('can be tried out first: who would lose and gain', async () => {
    const { version } = await current()
    await enrolled('p1', { tags: Tags.parse(['pa']) })
    await enrolled('p2', { tags: Tags.parse(['pb']) })
    const { changes, problems } = await tryOut({ rules: [{ src: ['tag:pa'], dst: ['tag:pb:22'] }] })
    expect(problems).toEqual([])
    expect(changes?.gaining).toBe(0)
    expect(changes?.losing).toBeGreaterThan(1)
    expect(changes?.cutOff).toBe((changes?.losing ?? 0) - 1)
    expect((await current()).version).toBe(version)
  })

  it('keeps a bounded number of versions, from which an older one can be put back', async () => {
    const start = (await current()).version
    for (let n = 0; n < 3; n++)
      await setPolicy({ rules: [{ src: [`tag:h${n}`], dst: ['*:22'], note: `round ${n}` }] })
    const { items } = MeshPolicyHistory.parse(await (await admin('GET', `${PATH}/history`)).json())
    expect(items.length).toBeLessThanOrEqual(MESH_POLICY_KEEP)
    expect(items[0]).toMatchObject({ version: start + 3, actor: 'admin:root', rules: 1 })
    const older = MeshPolicyReply.parse(await (await admin('GET', `${PATH}?version=${start + 1}`)).json())
    expect(older.policy?.rules[0]).toMatchObject({ src: ['tag:h0'], note: 'round 0' })
    if (older.policy !== null) await setPolicy(older.policy)
    expect((await current()).policy).toEqual(older.policy)
    expect(await refusalOf(await admin('GET', `${PATH}?version=9999`))).toEqual({
      status: 404,
      code: 'E_MESH_POLICY_NOT_FOUND',
    })
  })

  it('gives nothing to another machine that takes the name of one it names', async () => {
    await enrolled('named')
    await setPolicy({ rules: [{ src: ['node:named'], dst: ['*:22'] }] })
    expect(await explain('from=named&to=p1&port=tcp:22')).toMatchObject({ allowed: true, rule: 0 })
    await admin('DELETE', '/v1/nodes/named')
    await enrolled('named')
    expect(await explain('from=named&to=p1&port=tcp:22')).toMatchObject({
      allowed: false,
      rule: null,
      ports: [],
    })
  })
})

describe('explaining', () => {
  it('says which rule allows it, or that none does', async () => {
    await setPolicy({
      rules: [
        { src: ['tag:pb'], dst: ['*:22'] },
        { src: ['tag:pa'], dst: ['tag:pb:80', '10.9.0.0/16:443'], proto: 'tcp' },
      ],
    })
    expect(await explain('from=p1&to=p2&port=tcp:80')).toMatchObject({
      allowed: true,
      rule: 1,
      reason: 'rules[1] allows it tcp:80',
      ports: ['tcp:80'],
      from: { name: 'p1', tags: ['pa'] },
      to: { name: 'p2' },
    })
    expect(await explain('from=p1&to=p2&port=udp:80')).toMatchObject({ allowed: false, rule: null })
    expect(await explain('from=p1&to=p2')).toMatchObject({ allowed: true, rule: 1 })
    expect(await explain('from=p1&to=10.9.1.0/24&port=tcp:443')).toMatchObject({ allowed: true, rule: 1 })
    expect(await explain('from=p1&to=10.0.0.0/8&port=tcp:443')).toMatchObject({ allowed: false })
    expect(await refusalOf(await admin('GET', `${PATH}/explain?from=p1&to=nobody`))).toEqual({
      status: 404,
      code: 'E_NODE_NOT_FOUND',
    })
    for (const query of ['from=p1', 'from=p1&to=p2&port=22', 'from=p1&to=p2&port=tcp:0', 'from=!&to=p2'])
      expect((await refusalOf(await admin('GET', `${PATH}/explain?${query}`))).code).toBe('E_QUERY_INVALID')
  })
})
