/** `claw mesh`: the private network of the fleet. */
import { defineGroup } from '../../host/command-line.ts'
import { exportPeer } from './mesh-export.ts'
import { graph } from './mesh-graph.ts'
import { peers, rmPeer } from './mesh-peers.ts'
import { ping } from './mesh-ping.ts'
import { meshPolicyCommands } from './mesh-policy.ts'
import { status } from './mesh-status.ts'

export const meshCommands = defineGroup({
  name: 'mesh',
  summary: 'The private network of the fleet',
  commands: [status, graph, ping, meshPolicyCommands, exportPeer, peers, rmPeer],
})
