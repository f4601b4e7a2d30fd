/** `clawnode rotate-wireguard`: another WireGuard key for this node, while its traffic goes on. */
import { defineCommand } from '../../host/command-line.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { loadNodeConfig } from '../config/node-config.ts'
import { tellAgentToRotateWireguard } from '../local-status.ts'
import { loadKeys } from '../node-keys.ts'
import { readNodeState } from '../node-state.ts'
import { configFlags, configOptions } from './configuration.ts'

export const rotateWireguardCommand = defineCommand({
  name: 'rotate-wireguard',
  summary: 'replace the key of the mesh interface; its traffic goes on meanwhile',
  details:
    'Peers are told of the next key before it is used, so that no packet is lost. The agent does it by itself every 30 days ' +
    '(wireguard_rotation). Cut short, it is finished by the running agent, or by the next one.',
  options: configOptions,
  run: async ({ options }) => {
    const { directory } = loadNodeConfig(configFlags(options))
    readNodeState(directory)
    if (!(await tellAgentToRotateWireguard(directory))) throw notRunning(directory)
    const { wireguard } = await loadKeys(directory)
    process.stdout.write(`the WireGuard key is now ${wireguard.publicKey}\n`)
  },
})

const notRunning = (directory: string): UserError =>
  new UserError({
    code: 'E_NO_AGENT',
    message: `no agent runs on ${directory}`,
    why: 'the key of an interface is changed by the agent, which tells the peers',
    fix: 'start it with `clawnode run`',
    exitCode: EXIT.unavailable,
  })
