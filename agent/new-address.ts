/** The gateway may give a node another address, or the fleet a wider range: the node takes it, if it may be one for a mesh here. */
import { UserError } from '../host/user-error.ts'
import type { Ipv4 } from '../protocol/ids.ts'
import type { JoinedNode } from './joined-node.ts'
import type { Log } from './log.ts'
import { systemCommands } from './mesh/exec.ts'
import { requireFleetRange } from './mesh/fleet-range.ts'
import { findConflict, readRoutes, routeConflict } from './mesh/routes.ts'
import { updateNodeState } from './node-state.ts'

interface Given {
  readonly ip4: Ipv4
  /** Absent: as it was. */
  readonly ip4Range?: string | undefined
}

/** @returns whether the node is to be at another place in the mesh now. */
export async function takeAddress(
  node: JoinedNode,
  { ip4, ip4Range = node.state.node.ipv4Range }: Given,
  iface: string | undefined,
  log: Log,
): Promise<boolean> {
  const { ipv4, ipv4Range, ipv6Range } = node.state.node
  if (ip4 === ipv4 && ip4Range === ipv4Range) return false
  try {
    requireFleetRange(ip4Range, ip4)
    if (iface !== undefined && ip4Range !== ipv4Range) {
      const conflict = findConflict(await readRoutes(systemCommands), [ip4Range], iface)
      if (conflict !== undefined) throw routeConflict(conflict, [ip4Range, ipv6Range])
    }
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    log.error('the address that the gateway has given this node is not taken', {
      problem: error.message,
      fix: error.fix,
    })
    return false
  }
  const change = { ipv4: ip4, ipv4Range: ip4Range }
  updateNodeState(node.directory, (state) => ({ ...state, node: { ...state.node, ...change } }))
  node.state = { ...node.state, node: { ...node.state.node, ...change } }
  log.info('this node has another address', change)
  return true
}
