/** An agent's mesh in a process of its own, to be killed. Told on standard input who it is; says `up` when it is, and then only lives. */
import { text } from 'node:stream/consumers'
import { systemCommands } from '../../agent/mesh/exec.ts'
import { openMtuProbe } from '../../agent/mesh/mtu-probe.ts'
import { type NodeSeed, testNode } from './mesh-node.ts'

export interface AgentProcessInput {
  readonly seed: NodeSeed
  readonly stateDirectory: string
  readonly iface: string
  readonly cache: string
}

const input = JSON.parse(await text(process.stdin)) as AgentProcessInput
const { engine } = await testNode({ ...input, commands: systemCommands, change: { openMtuProbe } })
await engine.start()
process.stdout.write('up\n')
