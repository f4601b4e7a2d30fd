/** Design, section 4.4: an idle fleet wakes no object and writes no row, counted by the gateway itself over a minute of a thousand nodes. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { EmbeddedGateway } from '../../bench/embedded.ts'
import { inFlight } from '../../bench/measure.ts'
import { SimulatedNode } from '../../bench/simulated-node.ts'
import { HEARTBEAT_INTERVAL_MS } from '../../protocol/limits.ts'

const NODES = 1000
const IDLE_MS = 60_000

let gateway: EmbeddedGateway
const nodes: SimulatedNode[] = []
beforeAll(async () => {
  gateway = await EmbeddedGateway.start()
})
afterAll(async () => {
  for (const node of nodes) node.close()
  await gateway.stop()
})

it(`${NODES} nodes enrol, hold their sessions, and beat for a minute without waking an object or writing a row`, async () => {
  const { token } = await gateway.admin.createToken({ uses: NODES })
  for (let i = 0; i < NODES; i++) nodes.push(await SimulatedNode.make(gateway.connection, `idle-${i}`))
  await inFlight(nodes, 32, async (node) => {
    await node.enrol(token)
    await node.connect({ mesh: false })
  })
  const before = await gateway.counters()
  expect(before['sessions_registered']).toBe(NODES)

  const beats = nodes.map((node, index) =>
    setTimeout(
      () => {
        node.ping()
        beats[index] = setInterval(() => node.ping(), HEARTBEAT_INTERVAL_MS)
      },
      (index / NODES) * HEARTBEAT_INTERVAL_MS,
    ),
  )
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
  for (const beat of beats) clearInterval(beat)
  const after = await gateway.counters()

  expect(nodes.reduce((sum, { pongs }) => sum + pongs, 0)).toBeGreaterThanOrEqual(NODES * 3)
  for (const counter of ['object_wakeups_by_frame', 'object_wakeups_by_close', 'rows_written']) {
    expect(after[counter], counter).toBe(before[counter])
  }
  expect((await gateway.admin.nodes()).filter(({ status }) => status === 'online')).toHaveLength(NODES)
})
