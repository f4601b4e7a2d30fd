/** `clawnode`: the agent on one machine of the fleet. */
import { defineGroup, runMain } from '../host/command-line.ts'
import { checkConfigCommand } from './commands/check-config.ts'
import { execCommand } from './commands/exec.ts'
import { joinCommand } from './commands/join.ts'
import { leaveCommand } from './commands/leave.ts'
import { renderCommand } from './commands/render.ts'
import { rotateIdentityCommand } from './commands/rotate-identity.ts'
import { rotateWireguardCommand } from './commands/rotate-wireguard.ts'
import { runCommand } from './commands/run.ts'
import { secretCommands } from './commands/secret.ts'
import { statusCommand } from './commands/status.ts'
import { versionCommand } from './commands/version.ts'

await runMain(
  defineGroup({
    name: 'clawnode',
    summary:
      'One machine of a Clawbernetes fleet: its identity, its session with the gateway, its mesh, its secrets.',
    commands: [
      joinCommand,
      runCommand,
      statusCommand,
      execCommand,
      secretCommands,
      renderCommand,
      rotateIdentityCommand,
      rotateWireguardCommand,
      leaveCommand,
      checkConfigCommand,
      versionCommand,
    ],
  }),
)
