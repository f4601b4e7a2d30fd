/**
 * Counts this node's sessions, on disk and before each of them begins. A copy of the disk counts on from the same number, and that is how
 * the gateway finds out that there are two.
 */
import { join } from 'node:path'
import { readPrivateFile, writePrivateFile } from '../host/private-file.ts'
import { EXIT, UserError } from '../host/user-error.ts'

/** Of its own, so that node.json is not written with each session. */
export const GENERATION_FILE = 'generation'

/** @returns the number of the session that may begin now. @throws UserError if it cannot be kept: then none may. */
export function raiseGeneration(directory: string): number {
  const path = join(directory, GENERATION_FILE)
  const generation = readGeneration(path) + 1
  writePrivateFile(path, `${generation}\n`)
  return generation
}

function readGeneration(path: string): number {
  const content = readPrivateFile(path)
  if (content === undefined) return 0
  const text = Buffer.from(content).toString('latin1').trimEnd()
  if (/^[1-9][0-9]{0,14}$/.test(text)) return Number(text)
  throw new UserError({
    code: 'E_STATE_INVALID',
    message: `${path} does not hold a number`,
    fix: `remove it, and have the node let in again with \`claw node release\` if the gateway then holds it`,
    exitCode: EXIT.badConfig,
  })
}
