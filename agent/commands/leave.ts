/** `clawnode leave`: this node goes out of its fleet by its own wish, and nothing of it stays on this machine. */
import { defineCommand } from '../../host/command-line.ts'
import { confirm, yesOption } from '../../host/confirm.ts'
import type { ProcessLock } from '../../host/process-lock.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { systemClock } from '../clock.ts'
import { loadNodeConfig, type NodeConfig } from '../config/node-config.ts'
import { finishRotation } from '../identity-rotation.ts'
import { openJoinedNode } from '../joined-node.ts'
import { removeLeftOnMachine } from '../left-on-machine.ts'
import { alreadyRunning, takeAgentLock } from '../local-api.ts'
import { poll } from '../mesh/poll.ts'
import { readNodeState } from '../node-state.ts'
import { removeState } from '../state-files.ts'
import { configFlags, configOptions } from './configuration.ts'

/** An agent whose session has just been lost may take this long to come back and hear of it (session/backoff.ts). */
const AGENT_ENDS_MS = 120_000

export const leaveCommand = defineCommand({
  name: 'leave',
  summary: 'take this node out of its fleet for good, and all of it off this machine',
  details:
    'The gateway removes the node, as `claw node rm` does. A running agent hears of it and ends with 194; what a killed one has left is taken ' +
    'away: interface, firewall rules, names. Then keys, kept secrets and state are overwritten and removed. Without the gateway nothing is ' +
    'changed, unless --local says so: then the owner of the fleet has to remove the node there.',
  options: {
    yes: yesOption,
    local: { type: 'boolean', help: 'only take it off this machine; the gateway is not asked' },
    ...configOptions,
  },
  run: async ({ options }) => {
    const config = loadNodeConfig(configFlags(options))
    const { directory } = config
    const { node } = readNodeState(directory)
    const { name, fleetName } = node
    const where = options.local ? 'off this machine' : `out of the fleet ${fleetName}`
    await confirm({
      consequence: `this takes ${name} ${where} for good, with its keys, its kept secrets, its interface and its state in ${directory}`,
      answer: name,
      refused: 'nothing was changed',
      yes: options.yes,
    })
    if (!options.local) await leaveFleet(config)
    const lock = options.local ? takeIdle(directory) : await agentEnded(directory)
    try {
      await removeLeftOnMachine(config)
      const others = removeState(directory)
      if (others.length > 0)
        process.stderr.write(`not clawnode's, and still in ${directory}: ${others.join(', ')}\n`)
    } finally {
      lock.close()
    }
    process.stdout.write(
      options.local
        ? `nothing of ${name} is left here, but ${fleetName} still has it: its owner has to run \`claw node rm ${name}\`\n`
        : `${name} has left ${fleetName}, and nothing of it is left here\n`,
    )
  },
})

/** @throws UserError unless the node is out of its fleet now. */
async function leaveFleet(config: NodeConfig): Promise<void> {
  try {
    await askGateway(config)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    if (error.code !== ('E_NODE_REMOVED' satisfies ErrorCode)) throw nothingChanged(error)
  }
}

async function askGateway(config: NodeConfig): Promise<void> {
  const node = await openJoinedNode(config.directory, systemClock, config)
  try {
    await finishRotation(node)
    await node.client.leave()
  } finally {
    node.connection.close()
  }
}

function takeIdle(directory: string): ProcessLock {
  const lock = takeAgentLock(directory)
  if (lock === undefined) throw alreadyRunning(directory)
  return lock
}

/** The gateway tells a running agent, which takes away what it has made. */
async function agentEnded(directory: string): Promise<ProcessLock> {
  const lock = takeAgentLock(directory)
  if (lock !== undefined) return lock
  process.stderr.write('waiting for the agent to end\n')
  const later = await poll(() => takeAgentLock(directory), AGENT_ENDS_MS)
  if (later === undefined) throw agentStays(directory)
  return later
}

const nothingChanged = ({ code, message, why, fix, exitCode, requestId }: UserError): UserError =>
  new UserError({
    code,
    message: `nothing was changed here: ${message}`,
    why,
    fix: `${fix ?? 'try again later'}; or take the node off this machine alone with \`clawnode leave --local\``,
    exitCode,
    requestId,
  })

const agentStays = (directory: string): UserError =>
  new UserError({
    code: 'E_AGENT_STAYS',
    message: `the node has left its fleet, but the agent on ${directory} still runs`,
    why: `it has not heard of it within ${AGENT_ENDS_MS / 1000} s`,
    fix: 'stop the agent, then run `clawnode leave` again to take away the rest',
    exitCode: EXIT.timeout,
  })
