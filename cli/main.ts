/** `claw`: what the person in charge of a fleet types. */
import { defineGroup, runMain } from '../host/command-line.ts'
import { adminTokenCommands } from './commands/admin-token.ts'
import { apiKeyCommands, whoamiCommand } from './commands/api-key.ts'
import { auditCommands } from './commands/audit.ts'
import { gatewayKeyCommands } from './commands/gateway-key.ts'
import { keyCommands } from './commands/key.ts'
import { meshCommands } from './commands/mesh.ts'
import { nodeCommands } from './commands/node.ts'
import { relayCommand } from './commands/relay.ts'
import { secretCommands } from './commands/secret.ts'
import { tokenCommands } from './commands/token.ts'
import { upCommand } from './commands/up.ts'

await runMain(
  defineGroup({
    name: 'claw',
    summary: 'Looks after a fleet of GPU machines.',
    details: `Without --gateway it talks to the \`claw up\` that runs from this directory (.claw/run.json). Data goes to standard
output, everything else to standard error; -o json prints data for programs.`,
    commands: [
      upCommand,
      relayCommand,
      tokenCommands,
      nodeCommands,
      meshCommands,
      secretCommands,
      auditCommands,
      apiKeyCommands,
      whoamiCommand,
      keyCommands,
      gatewayKeyCommands,
      adminTokenCommands,
    ],
  }),
)
