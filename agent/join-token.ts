/** The join token as the node sees it: a bearer string to hand over once, which may carry the gateway's CA. */
import { readFileSync, statSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { checkCa } from '../host/ca-file.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { ERRORS } from '../protocol/errors.ts'
import { JOIN_JWT_TYPE } from '../protocol/http.ts'

export class JoinToken {
  /** PEM, if the token carries one: whoever handed over the token vouches for the gateway. */
  readonly ca: string | undefined
  readonly #text: string

  private constructor(text: string, ca: string | undefined) {
    this.#text = text
    this.ca = ca
  }

  /** Checked before anything is sent: a file that was named by mistake stays on this machine. */
  static parse(token: string): JoinToken {
    const trimmed = token.trim()
    const claims = claimsOf(trimmed)
    if (claims === undefined) throw malformed()
    const { ca } = claims
    return new JoinToken(trimmed, typeof ca === 'string' ? checkCa(ca, 'the join token') : undefined)
  }

  expose(): string {
    return this.#text
  }
}

/** @param path `-` is standard input. */
export async function readJoinToken(path: string): Promise<JoinToken> {
  let content: string
  try {
    content = path === '-' ? await text(process.stdin) : readFileSync(path, 'utf8')
  } catch {
    throw new UserError({
      code: 'E_FILE_UNREADABLE',
      message: `${path === '-' ? 'standard input' : path} cannot be read`,
      fix: 'write the output of `claw token create` to a file and name it with --token-file',
      exitCode: EXIT.badConfig,
    })
  }
  return JoinToken.parse(content)
}

/** Whether others on this machine could have read the token. */
export const isOpenToOthers = (path: string): boolean => path !== '-' && (statSync(path).mode & 0o077) !== 0

function claimsOf(text: string): Record<string, unknown> | undefined {
  try {
    return decodeProtectedHeader(text).typ === JOIN_JWT_TYPE ? decodeJwt(text) : undefined
  } catch {
    return undefined
  }
}

const malformed = (): UserError =>
  new UserError({ code: 'E_TOKEN_MALFORMED', message: ERRORS.E_TOKEN_MALFORMED.title, exitCode: EXIT.auth })
