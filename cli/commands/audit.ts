/** `claw audit`: who did what, and the proof of it. */
import { defineGroup } from '../../host/command-line.ts'
import { ls, show, tail } from './audit-ls.ts'
import { archive, checkpoint, exportCommand, verify } from './audit-verify.ts'

export const auditCommands = defineGroup({
  name: 'audit',
  summary: 'Who did what, what was refused, and that nobody has changed it',
  commands: [ls, show, tail, verify, checkpoint, exportCommand, archive],
})
