/**
 * The join token as the node sees it: a bearer string to hand over once. It carries the gateway's key, by which the node knows the gateway
 * from then on, and its CA if that is not a public one: whoever handed over the token vouches for both.
 */
import { readFileSync, statSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { compactVerify, decodeJwt, decodeProtectedHeader, importJWK } from 'jose'
import * as z from 'zod'
import { checkCa } from '../host/ca-file.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { ERRORS } from '../protocol/errors.ts'
import { JOIN_JWT_TYPE } from '../protocol/http.ts'
import { GatewayKey } from '../protocol/ids.ts'
import { SIGNATURE_ALGORITHM } from '../protocol/proof.ts'

const Claims = z.object({ gk: GatewayKey, ca: z.string().optional() })
type Claims = z.infer<typeof Claims>

export class JoinToken {
  readonly gatewayKey: GatewayKey
  /** PEM, if the token carries one. */
  readonly ca: string | undefined
  readonly #text: string

  private constructor(text: string, { gk, ca }: Claims) {
    this.#text = text
    this.gatewayKey = gk
    this.ca = ca === undefined ? undefined : checkCa(ca, 'the join token')
  }

  /** Checked before anything is sent: a file that was named by mistake, or a token that was tampered with, stays on this machine. */
  static async parse(token: string): Promise<JoinToken> {
    const trimmed = token.trim()
    const claims = await readClaims(trimmed)
    if (claims === undefined) throw malformed()
    return new JoinToken(trimmed, claims)
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

/** Undefined unless the token is signed by the very key it carries. */
async function readClaims(token: string): Promise<Claims | undefined> {
  try {
    if (decodeProtectedHeader(token).typ !== JOIN_JWT_TYPE) return undefined
    const claims = Claims.parse(decodeJwt(token))
    const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: claims.gk }, SIGNATURE_ALGORITHM)
    await compactVerify(token, key, { algorithms: [SIGNATURE_ALGORITHM] })
    return claims
  } catch {
    return undefined
  }
}

const malformed = (): UserError =>
  new UserError({ code: 'E_TOKEN_MALFORMED', message: ERRORS.E_TOKEN_MALFORMED.title, exitCode: EXIT.auth })
