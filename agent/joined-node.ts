/** A node that has joined, read from its state directory and ready to talk to its gateway. */
import { GatewayConnection } from '../host/gateway-connection.ts'
import { parseGatewayUrl } from '../host/gateway-url.ts'
import { type Pin, parsePin } from '../host/pins.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import type { Clock } from './clock.ts'
import { GatewayClock } from './gateway-clock.ts'
import { GatewayKeys } from './gateway-keys.ts'
import { NodeClient } from './node-client.ts'
import { loadKeys, loadNextIdentity, type NodeKeys } from './node-keys.ts'
import { type NodeState, readNodeState, updateNodeState } from './node-state.ts'

export interface JoinedNode {
  readonly directory: string
  /** Another one when the gateway has given the node another address. */
  state: NodeState
  readonly keys: NodeKeys
  readonly gatewayKeys: GatewayKeys
  /** The caller closes it. */
  readonly connection: GatewayConnection
  readonly gatewayClock: GatewayClock
  readonly client: NodeClient
}

/** What the configuration says in place of what was kept when the node joined. */
interface TrustOverride {
  readonly ca?: string | undefined
  readonly pins?: readonly Pin[] | undefined
}

/** @throws UserError if the directory was never joined, or is damaged. */
export async function openJoinedNode(
  directory: string,
  clock: Clock,
  trust: TrustOverride = {},
): Promise<JoinedNode> {
  const state = readNodeState(directory)
  const keys = await loadKeys(directory)
  if (!(await belongs(directory, keys, state))) throw mixedUp(directory)
  const { url, ca, pins } = state.gateway
  const connection = new GatewayConnection({
    url: parseGatewayUrl(url),
    ca: trust.ca ?? ca,
    pins: trust.pins ?? pins.map(parsePin),
  })
  const gatewayKeys = new GatewayKeys(state.gateway.keys, (accepted) =>
    updateNodeState(directory, (current) => ({
      ...current,
      gateway: { ...current.gateway, keys: [...accepted] },
    })),
  )
  const gatewayClock = new GatewayClock(clock)
  const client = new NodeClient({
    connection,
    node: state.node.id,
    fleet: state.node.fleet,
    keys,
    gatewayKeys,
    clock: gatewayClock,
  })
  return { directory, state, keys, gatewayKeys, connection, gatewayClock, client }
}

/** A rotation that was cut short may have left the key in force in the file of the next one. */
async function belongs(directory: string, keys: NodeKeys, { identity }: NodeState): Promise<boolean> {
  if (keys.identity.publicKey === identity) return true
  return (await loadNextIdentity(directory))?.publicKey === identity
}

const mixedUp = (directory: string): UserError =>
  new UserError({
    code: 'E_STATE_INVALID',
    message: `the files in ${directory} are of two different nodes`,
    why: 'node.json names another identity key than identity.key holds',
    fix: 'restore the directory as a whole, or join again in an empty one as a new node',
    exitCode: EXIT.badConfig,
  })
