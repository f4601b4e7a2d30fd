/** `claw`: what the person in charge of a fleet types. */
import { defineGroup, runMain } from '../host/command-line.ts'
import { upCommand } from './commands/up.ts'

await runMain(
  defineGroup({
    name: 'claw',
    summary: 'Looks after a fleet of GPU machines.',
    commands: [upCommand],
  }),
)
