/** `clawnode exec`: runs a command with secrets in its environment. It needs no running agent. */
import { defineCommand } from '../../host/command-line.ts'
import { usageError } from '../../host/options.ts'
import { EXIT, printError, UserError } from '../../host/user-error.ts'
import { endAs, runInPlace } from '../child-process.ts'
import { systemClock } from '../clock.ts'
import { type ConfigFlags, loadNodeConfig } from '../config/node-config.ts'
import { finishRotation } from '../identity-rotation.ts'
import { openJoinedNode } from '../joined-node.ts'
import { type Assignment, parseAssignments, secretEnvironment, secretNames } from '../secret-environment.ts'
import { configFlags, configOptions } from './configuration.ts'

export const execCommand = defineCommand({
  name: 'exec',
  summary: 'run a command with secrets in its environment',
  details:
    "Ends as the command ends: with its exit code, or by the signal that ended it. 125 is this program's own failure (the command was " +
    'not started), 126 a command that cannot be executed, 127 one that is not found.',
  options: {
    secret: {
      type: 'string',
      multiple: true,
      value: 'ENV=NAME',
      help: 'put the secret NAME into the variable ENV',
    },
    ...configOptions,
  },
  rest: 'COMMAND',
  run: async ({ options, rest }) => {
    const [command, ...args] = rest
    if (command === undefined) throw usageError('COMMAND is missing')
    const assignments = parseAssignments(options.secret)
    let secrets: Record<string, string>
    try {
      secrets = await fetchEnvironment(configFlags(options), assignments)
    } catch (error) {
      // Whatever its code would be elsewhere: any other than 125 would be read as the command's own.
      printError(error)
      return EXIT.execFailed
    }
    const ending = await runInPlace(
      [command, ...args],
      { ...process.env, ...secrets },
      process.stdin.isTTY === true,
    )
    switch (ending.kind) {
      case 'exited':
        return ending.code
      case 'signalled':
        return endAs(ending.signal)
      case 'not_started':
        throw new UserError({
          code: 'E_COMMAND',
          message: `${command}: ${ending.reason}`,
          exitCode: ending.code,
        })
    }
  },
})

async function fetchEnvironment(
  flags: ConfigFlags,
  assignments: readonly Assignment[],
): Promise<Record<string, string>> {
  if (assignments.length === 0) return {}
  const config = loadNodeConfig(flags)
  const node = await openJoinedNode(config.directory, systemClock, config)
  const { client, connection } = node
  try {
    await finishRotation(node)
    const values = await client.fetchSecrets(secretNames(assignments).map((name) => ({ name })))
    try {
      return secretEnvironment(assignments, new Map([...values].map(([name, { value }]) => [name, value])))
    } finally {
      for (const { value } of values.values()) value.wipe()
    }
  } finally {
    connection.close()
  }
}
