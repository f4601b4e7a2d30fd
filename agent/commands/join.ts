/** `clawnode join`: makes the node's keys, has the gateway enrol them, keeps what it answered. */
import { hostname } from 'node:os'
import { defineCommand } from '../../host/command-line.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import type { GatewayUrl } from '../../host/gateway-url.ts'
import { usageError } from '../../host/options.ts'
import { parsePin } from '../../host/pins.ts'
import { ensurePrivateDirectory } from '../../host/private-file.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { NodeName } from '../../protocol/ids.ts'
import { systemClock } from '../clock.ts'
import { loadNodeConfig } from '../config/node-config.ts'
import { enrol } from '../enrolment.ts'
import { GatewayClock } from '../gateway-clock.ts'
import { isOpenToOthers, readJoinToken } from '../join-token.ts'
import { systemCommands } from '../mesh/exec.ts'
import { findConflict, readRoutes, routeConflict } from '../mesh/routes.ts'
import { loadOrCreateKeys } from '../node-keys.ts'
import { findNodeState, type NodeState, writeNodeState } from '../node-state.ts'
import { configFlags, configOptions, trustOptions } from './configuration.ts'

export const joinCommand = defineCommand({
  name: 'join',
  summary: 'join this machine to a fleet',
  details:
    'The token comes from `claw token create` on the machine of whoever runs the fleet. Joining again is harmless: the keys in the ' +
    'state directory make it the same node.',
  options: {
    'token-file': { type: 'string', value: 'FILE', help: 'holds the join token; - is standard input' },
    ...trustOptions,
    ...configOptions,
  },
  run: async ({ options }) => {
    const config = loadNodeConfig(configFlags(options), { joining: true })
    const { directory, gatewayUrl: url = missing('--gateway URL'), name = machineName() } = config
    const tokenFile = options['token-file'] ?? missing('--token-file FILE')
    ensurePrivateDirectory(directory)
    const before = findNodeState(directory)
    if (before !== undefined) checkSameGateway(before, url)

    const token = await readJoinToken(tokenFile)
    if (isOpenToOthers(tokenFile))
      warn(`other users of this machine can read ${tokenFile}; anyone with the token can join`)
    // A token may come from anywhere; whom this node has trusted so far, only its owner changes.
    const ca = config.ca ?? (before === undefined ? token.ca : before.gateway.ca)
    const pins = config.pins ?? before?.gateway.pins.map(parsePin) ?? []
    const keys = await loadOrCreateKeys(directory)
    const connection = new GatewayConnection({ url, ca, pins })
    try {
      const clock = new GatewayClock(systemClock)
      const { node, gatewayKeys } = await enrol({ connection, token, keys, name, clock })
      const gateway = {
        url: url.origin,
        ...(ca !== undefined && { ca }),
        pins: [...pins],
        keys: [...gatewayKeys],
      }
      writeNodeState(directory, { version: 1, gateway, identity: keys.identity.publicKey, node })
      if (config.mesh) await warnOfRoutes(node, config.interface)
      process.stdout.write(`joined ${node.fleetName} as ${node.name}, ${node.ipv4} and ${node.ipv6}\n`)
    } finally {
      connection.close()
    }
  },
})

/** `run` would refuse, and change nothing; better to know now. */
async function warnOfRoutes({ ipv4Range, ipv6Range }: NodeState['node'], iface: string): Promise<void> {
  const fleet = [ipv4Range, ipv6Range]
  const routes = await readRoutes(systemCommands).catch(() => [])
  const conflict = findConflict(routes, fleet, iface)
  if (conflict === undefined) return
  const { message, why, fix } = routeConflict(conflict, fleet)
  warn(`${message}: ${why}; before \`clawnode run\`: ${fix}`)
}

/** Two fleets need two directories: one identity in both would let them compare notes. */
function checkSameGateway({ gateway, node }: NodeState, url: GatewayUrl): void {
  if (gateway.url === url.origin) return
  throw new UserError({
    code: 'E_ALREADY_JOINED',
    message: `this is already ${node.name} of the gateway ${gateway.url}`,
    fix: 'choose another directory with --dir, or leave that fleet with `clawnode leave`',
    exitCode: EXIT.conflict,
  })
}

/** The machine's own name as a DNS label. */
function machineName(): NodeName {
  const [label = ''] = hostname().toLowerCase().split('.')
  const name = NodeName.safeParse(
    label
      .replace(/[^a-z0-9-]/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 63),
  )
  if (name.success) return name.data
  throw usageError("this machine's name cannot be a node's name", '--name NAME')
}

function missing(flag: string): never {
  throw usageError(`${flag} is missing`, 'clawnode join --gateway URL --token-file FILE')
}

const warn = (text: string): void => {
  process.stderr.write(`warning: ${text}\n`)
}
