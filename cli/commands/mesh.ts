/** `claw mesh`: the private network of the fleet. */
import { defineGroup } from '../../host/command-line.ts'
import { meshPolicyCommands } from './mesh-policy.ts'

export const meshCommands = defineGroup({
  name: 'mesh',
  summary: 'The private network of the fleet',
  commands: [meshPolicyCommands],
})
