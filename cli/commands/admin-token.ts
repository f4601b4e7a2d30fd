/** `claw admin-token`: the token that `claw` itself shows to the gateway of this machine. */
import { resolve } from 'node:path'
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { directoryOption } from '../run-file.ts'
import { rotateAdminToken } from '../up/key-files.ts'

const rotate = defineCommand({
  name: 'rotate',
  summary: 'Make a new admin token in place of the old one',
  details: 'Until `claw up` gets SIGHUP it takes the old one, which is no longer on disk here.',
  options: { dir: directoryOption },
  run({ options }) {
    const path = rotateAdminToken(resolve(options.dir))
    process.stderr.write(`${path} is new; SIGHUP to \`claw up\` makes the old token void\n`)
  },
})

export const adminTokenCommands = defineGroup({
  name: 'admin-token',
  summary: 'The token of whoever runs the gateway of this machine',
  commands: [rotate],
})
