/** Asks before something that cannot be undone: the name has to be typed, not a reflex. */
import { createInterface } from 'node:readline/promises'
import { EXIT, UserError } from '../host/user-error.ts'

export const yesOption = { type: 'boolean', help: 'do not ask' } as const

export async function confirmByName(what: string, name: string, yes: boolean): Promise<void> {
  if (yes) return
  if (!process.stdin.isTTY) {
    throw refused(
      `this removes ${what} ${name} for good`,
      'E_CONFIRMATION_NEEDED',
      'add --yes to do it without being asked',
    )
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await prompt.question(`This removes ${what} ${name} for good. Type its name to go on: `)
    if (answer.trim() !== name) throw refused('nothing was removed', 'E_CONFIRMATION_REFUSED')
  } finally {
    prompt.close()
  }
}

const refused = (message: string, code: string, fix?: string): UserError =>
  new UserError({ code, message, fix, exitCode: EXIT.confirmation })
