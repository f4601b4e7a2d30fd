/** Starts the move of what is stored to the active master key, and shows how far it is. */
import { setTimeout as sleep } from 'node:timers/promises'
import { plainText } from '../../host/plain-text.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { KeyringReply } from '../../protocol/secrets.ts'
import type { AdminClient } from '../admin-client.ts'

/** Each look is an entry of the trail. */
const FIRST_LOOK_MS = 200
const SLOWEST_LOOK_MS = 3_000

/** @returns the keyring when all is moved. */
export async function rewrapAll(client: AdminClient): Promise<KeyringReply> {
  let keyring = await client.rewrapKeys()
  let shown = ''
  for (
    let wait = FIRST_LOOK_MS;
    keyring.rewrap.state === 'running';
    wait = Math.min(wait * 1.5, SLOWEST_LOOK_MS)
  ) {
    const line = progressText(keyring)
    if (line !== shown) show(line)
    shown = line
    await sleep(wait)
    keyring = await client.keyring()
  }
  if (process.stderr.isTTY && shown !== '') process.stderr.write('\n')
  if (keyring.rewrap.state === 'failed' || keyring.rewrap.left > 0) throw failed(keyring)
  return keyring
}

export function progressText({ rewrap: { state, done, left, problem } }: KeyringReply): string {
  const counts = `${done} moved, ${left} left`
  if (state === 'idle') return left === 0 ? 'nothing is left to move' : `${left} to move`
  return state === 'running' ? counts : `failed: ${counts}; ${plainText(problem ?? 'no reason is known')}`
}

/** Over itself on a terminal; in a log, a line each time. */
function show(line: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${line}` : `${line}\n`)
}

const failed = (keyring: KeyringReply): UserError =>
  new UserError({
    code: 'E_REWRAP_FAILED',
    message: 'not everything could be moved to the active master key',
    why: progressText(keyring),
    fix: 'mend what is named, and `claw key rewrap` goes on; no key that is still needed can be retired',
    exitCode: EXIT.failure,
  })
