/** `claw secret`: values that nodes may read. */
import { defineGroup } from '../../host/command-line.ts'
import { exportCommand } from './secret-export.ts'
import { get } from './secret-get.ts'
import { importCommand } from './secret-import.ts'
import { ls, show } from './secret-ls.ts'
import { meta } from './secret-meta.ts'
import { allow, deny, explain, policyCommands } from './secret-policy.ts'
import { reseal } from './secret-reseal.ts'
import { rotate, set } from './secret-set.ts'
import { destroy, purge, rm, undelete } from './secret-versions.ts'

export const secretCommands = defineGroup({
  name: 'secret',
  plural: 'secrets',
  summary: 'Values that nodes may read',
  commands: [
    set,
    get,
    ls,
    show,
    rotate,
    rm,
    undelete,
    destroy,
    purge,
    policyCommands,
    allow,
    deny,
    explain,
    meta,
    importCommand,
    exportCommand,
    reseal,
  ],
})
