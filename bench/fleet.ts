/**
 * A whole fleet on one machine: the embedded gateway, and N simulated nodes that enrol, hold sessions, beat, report and follow
 * the mesh. Gateway and load share the machine's cores, so every figure is a lower bound of what the gateway does alone.
 */
import { EmbeddedGateway } from './embedded.ts'
import { inFlight, percentile, perSecond, until } from './measure.ts'
import type { Figure } from './report.ts'
import { SimulatedNode } from './simulated-node.ts'

export interface FleetOptions {
  readonly nodes: number
  /** Nodes that take part in the mesh: everybody hears of everybody there, which is N² entries for N first maps. */
  readonly meshNodes: number
  readonly idleSeconds: number
}

const WIDTH = 64
const CONNECT_TRIES = 5
const JOINS = 20
/** Below the burst a session may send, so that no frame is refused for its rate. */
const MESSAGES_EACH = 100
const MESSAGES_IN_ALL = 200_000
const HEARTBEAT_MS = 15_000

export async function benchFleet(
  { nodes: n, meshNodes, idleSeconds }: FleetOptions,
  log: (line: string) => void,
): Promise<Figure[]> {
  const gateway = await EmbeddedGateway.start()
  const nodes: SimulatedNode[] = []
  try {
    const figures: Figure[] = [{ what: 'gateway ready', value: gateway.readyMs, unit: 'ms' }]
    log(`making ${n} sets of keys`)
    for (let i = 0; i < n + JOINS; i++) nodes.push(await SimulatedNode.make(gateway.connection, `sim-${i}`))
    const fleet = nodes.slice(0, n)
    const joining = nodes.slice(n)
    const { token } = await gateway.admin.createToken({ uses: n + JOINS })

    log('enrolling')
    const enrolled = await inFlight(fleet, WIDTH, (node) => node.enrol(token))
    figures.push({
      what: 'enrolments',
      value: perSecond(n, enrolled.ms),
      unit: '/s',
      budget: { atLeast: 300 },
    })

    log('opening sessions')
    const before = gateway.memory()
    let refused = 0
    const connected = await inFlight(fleet, WIDTH, async (node, index) => {
      // As an agent would: a connection that is reset in the rush is tried again.
      for (let tried = 1; ; tried++) {
        try {
          return await node.connect({ mesh: index < meshNodes })
        } catch (error) {
          refused++
          if (tried === CONNECT_TRIES) throw error
        }
      }
    })
    figures.push({ what: 'sessions opened over TLS', value: perSecond(n, connected.ms), unit: '/s' })
    figures.push({ what: 'connections that had to be tried again', value: refused, unit: '' })
    figures.push({ what: 'sessions held', value: n, unit: '' })
    const each = (gateway.memory() - before) / n / 1000
    figures.push({ what: 'gateway memory a session', value: each, unit: 'KB', budget: { atMost: 200 } })

    figures.push(...(await idle(gateway, fleet, idleSeconds, log)))
    figures.push(...(await messages(fleet, log)))
    if (meshNodes > 0) figures.push(...(await joins(gateway, fleet.slice(0, meshNodes), joining, token, log)))
    const errors = fleet.reduce((sum, node) => sum + node.errors, 0)
    figures.push({ what: 'error frames', value: errors, unit: '', budget: { atMost: 0 } })
    return figures
  } finally {
    for (const node of nodes) node.close()
    await gateway.stop()
  }
}

/** Every node beats at its interval, and reports once: what that costs is counted by the gateway, not timed. */
async function idle(
  gateway: EmbeddedGateway,
  fleet: readonly SimulatedNode[],
  seconds: number,
  log: (line: string) => void,
): Promise<Figure[]> {
  log(`idling for ${seconds} s`)
  const before = await gateway.counters()
  const timers = fleet.map((node, index) => {
    const first = (index / fleet.length) * HEARTBEAT_MS
    return setTimeout(() => {
      node.ping()
      timers[index] = setInterval(() => node.ping(), HEARTBEAT_MS)
    }, first)
  })
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  for (const timer of timers) clearInterval(timer)
  const afterBeats = await gateway.counters()
  const pongs = fleet.reduce((sum, node) => sum + node.pongs, 0)

  for (const node of fleet) node.telemetry(0)
  const seen = () => fleet.reduce((sum, node) => sum + node.acks, 0)
  await until(() => seen() >= fleet.length, 60_000, 20)
  const afterTelemetry = await gateway.counters()
  const change = (name: string, from: Record<string, number>, to: Record<string, number>) =>
    (to[name] ?? 0) - (from[name] ?? 0)
  const nodeHours = (fleet.length * seconds) / 3600
  return [
    { what: 'heartbeats answered while idle', value: pongs, unit: '' },
    {
      what: 'object wake-ups by them',
      value: change('object_wakeups_by_frame', before, afterBeats),
      unit: '',
      budget: { atMost: 0 },
    },
    {
      what: 'rows written by them',
      value: change('rows_written', before, afterBeats),
      unit: '',
      budget: { atMost: 0 },
    },
    {
      what: 'rows written a node-hour, with telemetry',
      value: change('rows_written', before, afterTelemetry) / nodeHours,
      unit: '',
      budget: { atMost: 0 },
    },
  ]
}

async function messages(fleet: readonly SimulatedNode[], log: (line: string) => void): Promise<Figure[]> {
  const eachSends = Math.min(MESSAGES_EACH, Math.floor(MESSAGES_IN_ALL / fleet.length))
  log(`sending ${eachSends * fleet.length} messages`)
  const acked = () => fleet.reduce((sum, node) => sum + node.acks, 0)
  const ponged = () => fleet.reduce((sum, node) => sum + node.pongs, 0)
  const total = eachSends * fleet.length

  const ackedBefore = acked()
  const begun = performance.now()
  for (let i = 0; i < eachSends; i++) for (const node of fleet) node.telemetry(i)
  await until(() => acked() - ackedBefore >= total, 120_000)
  const answeredMs = performance.now() - begun

  const pongedBefore = ponged()
  const pinged = performance.now()
  for (let i = 0; i < eachSends; i++) for (const node of fleet) node.ping()
  await until(() => ponged() - pongedBefore >= total, 120_000)
  return [
    {
      what: 'messages answered by objects',
      value: perSecond(total, answeredMs),
      unit: '/s',
      budget: { atLeast: 20_000 },
    },
    { what: 'heartbeats answered', value: perSecond(total, performance.now() - pinged), unit: '/s' },
  ]
}

/** From the moment a newcomer registers to the moment each peer has been told of it. */
async function joins(
  gateway: EmbeddedGateway,
  peers: readonly SimulatedNode[],
  newcomers: readonly SimulatedNode[],
  token: string,
  log: (line: string) => void,
): Promise<Figure[]> {
  log(`${newcomers.length} nodes join ${peers.length}`)
  const before = await gateway.counters()
  const delays: number[] = []
  const spreads: number[] = []
  let bytes = 0
  for (const newcomer of newcomers) {
    await newcomer.enrol(token)
    const begun = performance.now()
    const times: number[] = []
    for (const peer of peers) {
      peer.onMesh = (text) => {
        if (!text.includes(newcomer.id)) return
        times.push(performance.now() - begun)
        bytes += text.length
        peer.onMesh = undefined
      }
    }
    await newcomer.connect({ mesh: true })
    await until(() => times.length === peers.length, 30_000)
    delays.push(...times)
    spreads.push(Math.max(...times) - Math.min(...times))
  }
  const snapshots =
    ((await gateway.counters())['mesh_snapshots_sent'] ?? 0) - (before['mesh_snapshots_sent'] ?? 0)
  return [
    { what: `join → peers told, p50 of ${peers.length}`, value: percentile(delays, 0.5), unit: 'ms' },
    {
      what: `join → peers told, p99 of ${peers.length}`,
      value: percentile(delays, 0.99),
      unit: 'ms',
      budget: { atMost: 1000 },
    },
    { what: 'broadcast, first peer to last, p50', value: percentile(spreads, 0.5), unit: 'ms' },
    { what: 'bytes pushed a peer a join', value: bytes / delays.length, unit: 'B', budget: { atMost: 250 } },
    { what: 'full maps sent to peers', value: snapshots - newcomers.length, unit: '', budget: { atMost: 0 } },
  ]
}
