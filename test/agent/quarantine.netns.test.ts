/** A node in quarantine has no interface, and has its mesh back when it is let in again: real WireGuard in a namespace. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { systemClock } from '../../agent/clock.ts'
import { createLog } from '../../agent/log.ts'
import { MeshRuntime } from '../../agent/mesh-runtime.ts'
import type { NodeFrame } from '../../protocol/frames.ts'
import { newSeed, SETTINGS, selfOf, testNode } from '../mesh/mesh-node.ts'
import { memoryLease } from '../support/map-lease.ts'
import { canMakeNamespaces, Lan, processesIn, uniqueInterface } from '../support/netns.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

test.skipIf(!canMakeNamespaces)('the interface goes and comes back', async () => {
  const lan = new Lan()
  onTestFinished(() => lan.destroy())
  const host = lan.addHost()
  const iface = uniqueInterface()
  const stateDirectory = temporaryDirectory()
  const seed = newSeed(1)
  let cache: string | undefined
  const saveCache = (text: string) => {
    cache = text
  }
  const change = { loadCache: () => cache, saveCache }
  const make = () => testNode({ seed, commands: host.commands, stateDirectory, iface, change })
  const engines = [await make(), await make()].map(({ engine }) => engine)
  const runtime = new MeshRuntime({
    clock: systemClock,
    log: createLog({ level: 'debug', write: () => {}, now: () => 0 }),
    lease: memoryLease(systemClock),
    createEngine: () => engines.shift() ?? expect.fail('a third engine'),
  })
  const sent: NodeFrame[] = []
  const send = (frame: NodeFrame) => sent.push(frame) > 0
  const peersOf = async () => (await host.exec('wg', 'show', iface, 'peers')).trim()

  await runtime.start()
  runtime.connected(send, SETTINGS)
  const { entry } = await selfOf(newSeed(2))
  runtime.receive({ type: 'mesh', epoch: 'e', to: 1, put: [entry] })
  await vi.waitFor(async () => expect(await peersOf()).not.toBe(''), { timeout: 10_000 })

  runtime.hold()
  await vi.waitFor(() => expect(processesIn(host.namespace)).toEqual([]), { timeout: 10_000 })
  expect(await host.exec('ip', '-br', 'link')).not.toContain(iface)
  expect(await runtime.status()).toBeUndefined()

  runtime.connected(send, SETTINGS)
  await vi.waitFor(async () => expect(await peersOf()).not.toBe(''), { timeout: 10_000 })
  await vi.waitFor(() => expect(sent).toContainEqual({ type: 'mesh_resync', at: { epoch: 'e', seq: 1 } }))
  await runtime.stop()
  expect(await host.exec('ip', '-br', 'link')).not.toContain(iface)
})
