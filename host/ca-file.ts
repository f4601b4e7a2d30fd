/** Certificate authorities given by the user. Node ignores text that holds none, which would then show as a mistrusted gateway. */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { EXIT, UserError } from './user-error.ts'

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

export function readCaFile(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    throw invalid(`${path} cannot be read`)
  }
  return checkCa(text, path)
}

/** @param source what to call it in a message. */
export function checkCa(text: string, source: string): string {
  const blocks = text.match(PEM_BLOCK) ?? []
  if (blocks.length === 0 || !blocks.every(isCertificate))
    throw invalid(`${source} holds no certificate in PEM form`)
  return text
}

function isCertificate(block: string): boolean {
  try {
    return new X509Certificate(block).raw.length > 0
  } catch {
    return false
  }
}

const invalid = (message: string): UserError =>
  new UserError({
    code: 'E_CA_INVALID',
    message,
    fix: "copy the gateway's ca.pem to this machine and give its path",
    exitCode: EXIT.badConfig,
  })
