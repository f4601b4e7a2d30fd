/** A node whose engine runs on a WireGuard in memory, and by a clock that the test moves. */
import type { MeshEngineOptions } from '../../agent/mesh/engine-options.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { FakeWireGuard } from './fake-wireguard.ts'
import { newSeed, testNode } from './mesh-node.ts'

interface Options {
  readonly number?: number
  readonly cache?: string | undefined
  readonly change?: Partial<MeshEngineOptions>
}

export async function startFakeNode({ number = 1, cache, change }: Options = {}) {
  const clock = new ManualClock()
  const wireguard = new FakeWireGuard()
  const node = await testNode({
    seed: newSeed(number),
    commands: wireguard,
    stateDirectory: '/nonexistent',
    iface: 'claw0',
    clock,
    cache,
    change: { backend: wireguard, ...change },
  })
  await node.engine.start()
  return { ...node, clock, wireguard }
}
