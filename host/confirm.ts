/** Asks before something that cannot be undone, or that shows what was hidden: a word has to be typed, not a reflex. */
import { createInterface } from 'node:readline/promises'
import { EXIT, UserError } from './user-error.ts'

export const yesOption = { type: 'boolean', help: 'do not ask' } as const

export interface Question {
  /** What happens, as a sentence: `this removes the node alpha for good`. */
  readonly consequence: string
  /** What to type. */
  readonly answer: string
  /** What is said if something else was typed. */
  readonly refused: string
  /** The flag that answers beforehand. */
  readonly yes: boolean
}

export async function confirm({ consequence, answer, refused, yes }: Question): Promise<void> {
  if (yes) return
  if (!process.stdin.isTTY)
    throw refusal(consequence, 'E_CONFIRMATION_NEEDED', 'add --yes to do it without being asked')
  const prompt = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const sentence = consequence.charAt(0).toUpperCase() + consequence.slice(1)
    const typed = await prompt.question(`${sentence}. Type ${answer} to go on: `)
    if (typed.trim() !== answer) throw refusal(refused, 'E_CONFIRMATION_REFUSED')
  } finally {
    prompt.close()
  }
}

export const confirmByName = (what: string, name: string, yes: boolean): Promise<void> =>
  confirm({
    consequence: `this removes ${what} ${name} for good`,
    answer: name,
    refused: 'nothing was removed',
    yes,
  })

const refusal = (message: string, code: string, fix?: string): UserError =>
  new UserError({ code, message, fix, exitCode: EXIT.confirmation })
