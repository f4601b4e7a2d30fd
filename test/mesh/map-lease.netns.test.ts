/** A node that is cut off from its gateway: its peers go when the lease of the map ends, and are back with the next session. Real WireGuard. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { systemClock } from '../../agent/clock.ts'
import { createLog } from '../../agent/log.ts'
import { MapLease } from '../../agent/mesh/map-lease.ts'
import { MeshRuntime } from '../../agent/mesh-runtime.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { canMakeNamespaces, Lan, uniqueInterface } from '../support/netns.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { newSeed, SETTINGS, testNode } from './mesh-node.ts'

const HOUR = 3_600_000
const soon = { timeout: 20_000, interval: 50 }

test.skipIf(!canMakeNamespaces)(
  'peers are spoken to for as long as the lease lasts, also after a restart',
  async () => {
    const lan = new Lan()
    onTestFinished(() => lan.destroy())
    const [here, there] = [lan.addHost(), lan.addHost()]
    const stateDirectory = temporaryDirectory()
    const [seed, iface] = [newSeed(1), uniqueInterface()]
    const disk: { cache?: string; lease?: string } = {}
    const lines: string[] = []
    const clock = new ManualClock()

    let current: MeshRuntime | undefined

    const peer = await testNode({
      seed: newSeed(2),
      commands: there.commands,
      stateDirectory: temporaryDirectory(),
      iface: uniqueInterface(),
      change: {
        sendSignals: (signals) => {
          for (const { sealed } of signals) current?.receive({ type: 'signal', from: peer.entry.id, sealed })
        },
      },
    })
    onTestFinished(() => peer.engine.stop({ keepInterface: true }))
    await peer.engine.start()

    async function agent() {
      const lease = new MapLease({
        clock,
        bootClock: () => ({ boot: 'b', uptimeMs: clock.elapsed() }),
        load: () => disk.lease,
        save: (text) => {
          disk.lease = text
        },
      })
      const node = await testNode({
        seed,
        commands: here.commands,
        stateDirectory,
        iface,
        change: {
          lease,
          loadCache: () => disk.cache,
          saveCache: (text) => {
            disk.cache = text
          },
          log: createLog({ level: 'info', write: (line) => lines.push(line), now: () => 0 }),
          sendSignals: (signals) => {
            for (const { sealed } of signals) void peer.engine.onSignal(node.entry.id, sealed)
          },
        },
      })
      const runtime = new MeshRuntime({
        clock: systemClock,
        log: createLog({ level: 'error', write: () => {}, now: () => 0 }),
        lease,
        createEngine: () => node.engine,
      })
      current = runtime
      await runtime.start()
      return { ...node, runtime }
    }
    const answers = () =>
      here.exec('ping', '-c', '1', '-W', '1', peer.entry.ip4).then(
        () => true,
        () => false,
      )
    const peersOf = async () => (await here.exec('wg', 'show', iface, 'peers')).trim()

    const first = await agent()
    peer.engine.onConnected(SETTINGS)
    peer.engine.applyChanges({ epoch: 'e', to: 1, put: [first.entry] })
    first.runtime.connected(() => true, { ...SETTINGS, leaseMs: HOUR })
    first.runtime.receive({ type: 'mesh', epoch: 'e', to: 1, put: [peer.entry] })
    await vi.waitFor(async () => expect(await answers()).toBe(true), soon)

    // Cut off. The lease is heard to go on until then, and an hour later it is over.
    clock.advance(HOUR - 1)
    first.runtime.heard()
    first.runtime.disconnected()
    clock.advance(HOUR - 1)
    expect(await answers()).toBe(true)
    clock.advance(1)
    await vi.waitFor(async () => expect(await peersOf()).toBe(''), soon)
    expect(await answers()).toBe(false)
    expect((await first.runtime.status())?.lastError).toContain('not heard for longer than it allows')
    expect(lines.join('')).toContain('not heard for longer than it allows')

    // The next session brings them back, and the map with them.
    first.runtime.connected(() => true, { ...SETTINGS, leaseMs: HOUR })
    await vi.waitFor(async () => expect(await answers()).toBe(true), soon)
    expect((await first.runtime.status())?.lastError).toBeUndefined()

    // The agent is killed while it is cut off; its interface stays. The next one has what is left of the hour, and no more.
    await first.engine.stop({ keepInterface: true })
    clock.advance(HOUR / 2)
    const second = await agent()
    expect(await answers()).toBe(true)
    await second.engine.stop({ keepInterface: true })
    clock.advance(HOUR / 2)
    const third = await agent()
    expect(await peersOf()).toBe('')
    expect(await answers()).toBe(false)
    await third.runtime.stop()
  },
)
