/** Looks for secrets in whatever a program leaves behind: in files, in what it printed, in argument lists. */
import { createPrivateKey } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** What it is called, and every form of it that somebody could recognise. */
export type Needles = Readonly<Record<string, readonly Buffer[]>>

/** Short forms would be found by chance. */
const SHORTEST = 12

export function formsOf(secret: Uint8Array): Buffer[] {
  const bytes = Buffer.from(secret)
  const texts = [bytes.toString('hex'), bytes.toString('hex').toUpperCase()]
  for (const form of ['base64', 'base64url'] as const) {
    // Inside a longer text the groups of three may begin at any of its bytes.
    for (const offset of [0, 1, 2]) {
      const whole = Buffer.concat([Buffer.alloc(offset), bytes])
        .toString(form)
        .replace(/=+$/, '')
      texts.push(whole.slice(offset === 0 ? 0 : offset + 1, -1))
    }
  }
  return [bytes, ...texts.map((text) => Buffer.from(text))].filter(({ length }) => length >= SHORTEST)
}

export const textForms = (text: string): Buffer[] => formsOf(Buffer.from(text))

/** Of a signed token the signature is what nobody else can make; its claims are no secret. */
export const tokenForms = (token: string): Buffer[] => [
  ...textForms(token),
  ...textForms(token.split('.')[2] ?? ''),
]

export const keyFileForms = (path: string): Buffer[] =>
  formsOf(Buffer.from(readFileSync(path, 'utf8'), 'base64'))

/** PEM or JWK: the private number itself. */
export function privateKeyForms(path: string): Buffer[] {
  const text = readFileSync(path, 'utf8')
  const jwk = text.startsWith('{')
    ? (JSON.parse(text) as { readonly d?: string })
    : createPrivateKey(text).export({ format: 'jwk' })
  return formsOf(Buffer.from(jwk.d ?? '', 'base64url'))
}

/** Names of the secrets that this holds, also across the line breaks of PEM. */
export const foundIn = (content: Uint8Array | string, needles: Needles): string[] => {
  const haystack = Buffer.from(content)
  const joined = Buffer.from(haystack.toString('latin1').replace(/\r?\n/g, ''), 'latin1')
  return Object.entries(needles)
    .filter(([, forms]) => forms.some((form) => haystack.includes(form) || joined.includes(form)))
    .map(([name]) => name)
}

export const filesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true)

/** Argument lists of every process that lives while this watches, as anybody on the machine can read them. */
export class ArgumentWatch {
  readonly seen = new Set<string>()
  #stopped = false
  readonly #loop: Promise<void>

  constructor() {
    this.#loop = this.#watch()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#loop
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
        try {
          this.seen.add(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
        } catch {
          // It has ended.
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}
