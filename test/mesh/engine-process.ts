/**
 * A mesh engine in a process of its own, so that its sockets are in its machine's network namespace, and to be killed. It is told on
 * standard input, a line of JSON each, and says on standard output what it does.
 */
import { createInterface } from 'node:readline'
import type { MeshStatus } from '../../agent/mesh/engine-options.ts'
import { systemCommands } from '../../agent/mesh/exec.ts'
import { systemAddresses } from '../../agent/mesh/paths/network-watch.ts'
import { SharedPort } from '../../agent/mesh/paths/shared-port.ts'
import type { SealedSignal } from '../../agent/mesh/signals.ts'
import type { Endpoint, NodeId } from '../../protocol/ids.ts'
import type { MeshChanges, MeshPeer } from '../../protocol/mesh.ts'
import { type NodeSeed, SETTINGS, testNode } from './mesh-node.ts'

export interface EngineInput {
  readonly seed: NodeSeed
  readonly stateDirectory: string
  readonly iface: string
  readonly stun: readonly string[]
  readonly cache?: string
  readonly publicEndpoint?: Endpoint
  /** As if there were no nftables. */
  readonly noPort?: true
}

export type Order =
  | { readonly type: 'connect' }
  | { readonly type: 'disconnect' }
  | { readonly type: 'changes'; readonly changes: MeshChanges }
  | { readonly type: 'signal'; readonly from: NodeId; readonly sealed: string }
  | { readonly type: 'status' }
  | { readonly type: 'stop'; readonly keepInterface: boolean }

export type Said =
  | { readonly type: 'up'; readonly entry: MeshPeer }
  | { readonly type: 'signals'; readonly signals: readonly SealedSignal[] }
  | { readonly type: 'status'; readonly status: MeshStatus; readonly cache: string | undefined }
  | { readonly type: 'stopped' }

const say = (said: Said): void => void process.stdout.write(`${JSON.stringify(said)}\n`)

if (process.argv[1] === import.meta.filename) await main()

async function main(): Promise<void> {
  const lines = createInterface(process.stdin)[Symbol.asyncIterator]()
  const first = await lines.next()
  const input = JSON.parse(first.value ?? '') as EngineInput
  const { seed, stateDirectory, iface, stun, publicEndpoint, noPort } = input
  const commands = systemCommands
  const listenPort = 51_820
  const node = await testNode({
    seed,
    stateDirectory,
    iface,
    cache: input.cache,
    commands,
    change: {
      listenPort,
      stun,
      publicEndpoint,
      networkState: systemAddresses,
      ...(noPort ? {} : { openPort: () => SharedPort.open({ commands, iface, listenPort }) }),
      sendSignals: (signals) => say({ type: 'signals', signals }),
      log: {
        debug: () => {},
        info: () => {},
        warn: (text, fields) => void process.stderr.write(`${iface} ${text} ${JSON.stringify(fields)}\n`),
        error: () => {},
      },
    },
  })
  const { engine, entry } = node
  await engine.start()
  say({ type: 'up', entry })
  for (let line = await lines.next(); line.done !== true; line = await lines.next()) {
    const order = JSON.parse(line.value) as Order
    if (order.type === 'connect') engine.onConnected(SETTINGS)
    else if (order.type === 'disconnect') engine.onDisconnected()
    else if (order.type === 'changes') engine.applyChanges(order.changes)
    else if (order.type === 'signal') void engine.onSignal(order.from, order.sealed)
    else if (order.type === 'status')
      say({ type: 'status', status: await engine.status(), cache: node.saved.cache })
    else {
      await engine.stop(order)
      say({ type: 'stopped' })
      process.exit()
    }
  }
  // Whoever started it is gone.
  process.exit()
}
