/** `claw mesh`: the private network between the nodes. */
import { defineGroup } from '../../host/command-line.ts'
import { exportPeer } from './mesh-export.ts'
import { graph } from './mesh-graph.ts'
import { peers, rmPeer } from './mesh-peers.ts'
import { ping } from './mesh-ping.ts'
import { status } from './mesh-status.ts'

export const meshCommands = defineGroup({
  name: 'mesh',
  summary: 'The private network between the nodes',
  commands: [status, graph, ping, exportPeer, peers, rmPeer],
})
