/** `clawnode rotate-identity`: a new identity key for this node, with the agent running or without. */
import { defineCommand } from '../../host/command-line.ts'
import { systemClock } from '../clock.ts'
import { loadNodeConfig } from '../config/node-config.ts'
import { rotateIdentity } from '../identity-rotation.ts'
import { openJoinedNode } from '../joined-node.ts'
import { tellAgentToRotate } from '../local-status.ts'
import { readNodeState } from '../node-state.ts'
import { configFlags, configOptions } from './configuration.ts'

export const rotateIdentityCommand = defineCommand({
  name: 'rotate-identity',
  summary: 'replace the key that this node signs with',
  details:
    'The node stays who it is: name, addresses and id do not change. The old key signs for the new one and is void afterwards. Cut ' +
    'short, it is finished by the next start of the agent.',
  options: configOptions,
  run: async ({ options }) => {
    const config = loadNodeConfig(configFlags(options))
    const { directory } = config
    readNodeState(directory)
    if (!(await tellAgentToRotate(directory))) {
      const node = await openJoinedNode(directory, systemClock, config)
      try {
        await rotateIdentity(node)
      } finally {
        node.connection.close()
      }
    }
    process.stdout.write(`the identity key is now ${readNodeState(directory).identity}\n`)
  },
})
