/** `--dir`, which every command of the agent takes. */
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import type { OptionSpec } from '../../host/options.ts'
import { defaultStateDirectory } from '../state-directory.ts'

export const directoryOption = {
  type: 'string',
  value: 'DIR',
  help: "the node's keys and state; else /var/lib/clawnode for root, ~/.local/state/clawnode for others",
} as const satisfies OptionSpec

export const stateDirectory = (given: string | undefined): string =>
  resolve(given ?? defaultStateDirectory({ env: process.env, home: homedir(), uid: process.getuid?.() }))
