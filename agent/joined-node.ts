/** A node that has joined, read from its state directory and ready to talk to its gateway. */
import { nodeIdOf } from '../crypto/node-id.ts'
import { GatewayConnection } from '../host/gateway-connection.ts'
import { parseGatewayUrl } from '../host/gateway-url.ts'
import { parsePin } from '../host/pins.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import type { Clock } from './clock.ts'
import { GatewayClock } from './gateway-clock.ts'
import { NodeClient } from './node-client.ts'
import { loadKeys, type NodeKeys } from './node-keys.ts'
import { type NodeState, readNodeState } from './node-state.ts'

export interface JoinedNode {
  readonly directory: string
  readonly state: NodeState
  readonly keys: NodeKeys
  /** The caller closes it. */
  readonly connection: GatewayConnection
  readonly gatewayClock: GatewayClock
  readonly client: NodeClient
}

/** @throws UserError if the directory was never joined, or is damaged. */
export async function openJoinedNode(directory: string, clock: Clock): Promise<JoinedNode> {
  const state = readNodeState(directory)
  const keys = await loadKeys(directory)
  if ((await nodeIdOf(keys.identity.publicKey)) !== state.node.id) throw mixedUp(directory)
  const { url, ca, pins } = state.gateway
  const connection = new GatewayConnection({ url: parseGatewayUrl(url), ca, pins: pins.map(parsePin) })
  const gatewayClock = new GatewayClock(clock)
  const client = new NodeClient({ connection, node: state.node.id, keys, clock: gatewayClock })
  return { directory, state, keys, connection, gatewayClock, client }
}

const mixedUp = (directory: string): UserError =>
  new UserError({
    code: 'E_STATE_INVALID',
    message: `the files in ${directory} are of two different nodes`,
    why: "a node's id follows from its identity key, and this one does not",
    fix: 'restore the directory as a whole, or join again in an empty one as a new node',
    exitCode: EXIT.badConfig,
  })
