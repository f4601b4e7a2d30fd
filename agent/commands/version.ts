/** `clawnode version`. */
import { defineCommand } from '../../host/command-line.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'
import { AGENT_VERSION } from '../version.ts'

export const versionCommand = defineCommand({
  name: 'version',
  aliases: ['--version'],
  summary: 'print the versions of the agent, of its protocol and of Node',
  run: () => {
    process.stdout.write(`${AGENT_VERSION} protocol/${PROTOCOL_VERSION} node/${process.versions.node}\n`)
  },
})
