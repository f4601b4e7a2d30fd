/**
 * The mesh: from a node's register to all its peers having acknowledged it, for fleets of several sizes; what a change, a first map and a
 * reconnect cost; and what WireGuard itself does on this machine (bench/wireguard.ts). Nodes are simulated, their sessions are not.
 */
import { setTimeout } from 'node:timers/promises'
import { HEARTBEAT_INTERVAL_MS } from '../protocol/limits.ts'
import { EmbeddedGateway } from './embedded.ts'
import { inFlight, percentile, perSecond, until } from './measure.ts'
import type { Figure } from './report.ts'
import { Follower, SharedView } from './shared-view.ts'
import { SimulatedNode } from './simulated-node.ts'
import { benchWireguard } from './wireguard.ts'

const WIDTH = 32
const CONNECT_TRIES = 5
const JOINS = 10
const LIMIT_MS = 300_000
/** Thousands of enrolments may take longer than a token lives by itself. */
const TOKEN_TTL_MS = 24 * 60 * 60_000
/** After this long without a change the log is at rest. */
const QUIET_MS = 1_000
const LOOK_MS = 25

export async function benchMesh(sizes: readonly number[], log: (line: string) => void): Promise<Figure[]> {
  const gateway = await EmbeddedGateway.start()
  const followers: Follower[] = []
  // A session that says nothing for a minute is over.
  const beats = setInterval(() => {
    for (const { node } of followers) node.ping()
  }, HEARTBEAT_INTERVAL_MS)
  try {
    const view = new SharedView()
    const most = Math.max(...sizes) + JOINS * sizes.length
    const { token } = await gateway.admin.createToken({ uses: most, ttlMs: TOKEN_TTL_MS })
    const figures: Figure[] = []
    let made = 0
    const make = async (count: number): Promise<Follower[]> => {
      const fresh: Follower[] = []
      while (fresh.length < count)
        fresh.push(new Follower(await SimulatedNode.make(gateway.connection, `mesh-${made++}`), view))
      await inFlight(fresh, WIDTH, ({ node }) => node.enrol(token))
      return fresh
    }
    for (const size of [...sizes].sort((a, b) => a - b)) {
      log(`${size} nodes enter the mesh`)
      const entering = await make(size - followers.length)
      await enter(entering, view, followers[0])
      followers.push(...entering)
      figures.push(...(await measure({ gateway, view, followers, newcomers: await make(JOINS), log })))
    }
    const gaps = followers.reduce((sum, follower) => sum + follower.gaps, 0)
    const errors = followers.reduce((sum, { node }) => sum + node.errors, 0)
    figures.push({
      what: 'frames that did not fit, and error frames',
      value: gaps + errors,
      unit: '',
      budget: { atMost: 0 },
    })
    for (const { node } of followers) node.close()
    return [...figures, ...(await benchWireguard(log))]
  } finally {
    clearInterval(beats)
    for (const { node } of followers) node.close()
    await gateway.stop()
  }
}

/** Each registers once, and is in the map from then on; with few of them listening at a time, the square of their number is not sent. */
async function enter(
  entering: readonly Follower[],
  view: SharedView,
  before: Follower | undefined,
): Promise<void> {
  const [first, ...others] = before === undefined ? entering : [before, ...entering]
  if (first === undefined) return
  // It stays, so that the shared map keeps up.
  await connect(first, view)
  await inFlight(others, WIDTH, async (follower) => {
    await connect(follower, view)
    follower.node.close()
  })
  await atRest(view)
  first.node.close()
}

interface Fleet {
  readonly gateway: EmbeddedGateway
  readonly view: SharedView
  readonly followers: Follower[]
  readonly newcomers: readonly Follower[]
  readonly log: (line: string) => void
}

async function measure({ gateway, view, followers, newcomers, log }: Fleet): Promise<Figure[]> {
  const n = followers.length
  const of = `of ${n}`
  log(`${n} nodes come back to a mesh that has not changed`)
  const [before, bytesBefore] = [await gateway.counters(), sum(followers, ({ node }) => node.bytes)]
  const meshBefore = sum(followers, ({ node }) => node.meshBytes)
  const back = await inFlight(followers, WIDTH, (follower) => connect(follower, view))
  await acknowledgedBy(gateway, before, n)
  const after = await gateway.counters()
  const figures: Figure[] = [
    { what: `reconnects a second, nothing changed, ${of}`, value: perSecond(n, back.ms), unit: '/s' },
    { what: `reconnect, p50 ${of}`, value: percentile(back.each, 0.5), unit: 'ms' },
    {
      what: `bytes to a node that comes back, ${of}`,
      value: (sum(followers, ({ node }) => node.bytes) - bytesBefore) / n,
      unit: 'B',
    },
    {
      what: `of them for the map, ${of}`,
      value: (sum(followers, ({ node }) => node.meshBytes) - meshBefore) / n,
      unit: 'B',
      budget: { atMost: 0 },
    },
    {
      what: `full maps to nodes that come back, ${of}`,
      value: change(before, after, 'mesh_snapshots_sent'),
      unit: '',
      budget: { atMost: 0 },
    },
  ]
  log(`${newcomers.length} nodes join ${n}, one after another`)
  const told: number[] = []
  const acked: number[] = []
  let bytes = 0
  const atJoin = await gateway.counters()
  for (const newcomer of newcomers) {
    const counted = await gateway.counters()
    const begun = performance.now()
    let left = n
    for (const follower of followers)
      follower.onPlace = (_, length) => {
        follower.onPlace = undefined
        told.push(performance.now() - begun)
        bytes += length
        left--
      }
    await newcomer.connect(undefined)
    await until(() => left === 0, LIMIT_MS)
    await acknowledgedBy(gateway, counted, n)
    acked.push(performance.now() - begun)
    await atRest(view)
  }
  const joined = await gateway.counters()
  const [snapshot = 0] = newcomers.slice(-1).map(({ node }) => node.meshBytes)
  figures.push(
    { what: `join → a peer is told, p50 ${of}`, value: percentile(told, 0.5), unit: 'ms' },
    { what: `join → a peer is told, p99 ${of}`, value: percentile(told, 0.99), unit: 'ms' },
    { what: `join → all have acknowledged, p50 ${of}`, value: percentile(acked, 0.5), unit: 'ms' },
    {
      what: `join → all have acknowledged, p99 ${of}`,
      value: percentile(acked, 0.99),
      unit: 'ms',
      // The design's budget is for a thousand.
      ...(n === 1000 && { budget: { atMost: 1000 } }),
    },
    { what: `bytes a peer a change, ${of}`, value: bytes / told.length, unit: 'B', budget: { atMost: 250 } },
    {
      what: `full maps to peers, ${of}`,
      value: change(atJoin, joined, 'mesh_snapshots_sent') - newcomers.length,
      unit: '',
      budget: { atMost: 0 },
    },
    {
      what: `acknowledgements a peer a change, ${of}`,
      value: change(atJoin, joined, 'mesh_acks') / told.length,
      unit: '',
    },
    {
      what: `rows written a join, ${of}`,
      value: change(atJoin, joined, 'rows_written') / newcomers.length,
      unit: '',
    },
    {
      what: `maps that were not the gateway's, ${of}`,
      value: change(before, joined, 'mesh_divergences'),
      unit: '',
      budget: { atMost: 0 },
    },
    { what: `a first map, ${of}`, value: snapshot / 1000, unit: 'KB' },
  )
  for (const { node } of [...followers, ...newcomers]) node.close()
  return figures
}

/** As an agent would: a connection that is reset in the rush is tried again. */
async function connect(follower: Follower, view: SharedView): Promise<void> {
  for (let tried = 1; ; tried++) {
    try {
      return await follower.connect(view.position)
    } catch (error) {
      if (tried === CONNECT_TRIES) throw error
    }
  }
}

async function acknowledgedBy(
  gateway: EmbeddedGateway,
  since: Record<string, number>,
  count: number,
): Promise<void> {
  const deadline = performance.now() + LIMIT_MS
  while (change(since, await gateway.counters(), 'mesh_acks') < count) {
    if (performance.now() > deadline) throw new Error('the acknowledgements did not come')
    // Each look asks every object, and must not be what they are busy with.
    await setTimeout(LOOK_MS)
  }
}

async function atRest(view: SharedView): Promise<void> {
  for (let before: number | undefined; before === undefined || before !== view.position?.seq; ) {
    before = view.position?.seq
    await setTimeout(QUIET_MS)
  }
}

const change = (from: Record<string, number>, to: Record<string, number>, name: string): number =>
  (to[name] ?? 0) - (from[name] ?? 0)

const sum = <T>(items: readonly T[], value: (item: T) => number): number =>
  items.reduce((total, item) => total + value(item), 0)
