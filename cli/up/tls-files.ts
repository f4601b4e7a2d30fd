/** CA and server certificate of a gateway's directory: ca.key, ca.pem, server.key, server.pem. */
import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { writePrivateFile } from '../../host/private-file.ts'
import { damaged, keepText, readText } from './state-file.ts'

const RENEW_BEFORE_MS = 30 * 24 * 60 * 60_000

export interface TlsFiles {
  readonly caPath: string
  readonly ca: X509Certificate
  /** PKCS #8 in PEM. */
  readonly key: string
  /** Leaf and CA in PEM. */
  readonly chain: string
}

/** @param fresh false for a gateway that has served before: a new CA would lock out every node that trusts the old one. */
export async function keepTlsFiles(
  directory: string,
  names: readonly string[],
  { fresh, now = new Date() }: { readonly fresh: boolean; readonly now?: Date },
): Promise<TlsFiles> {
  const caPath = join(directory, 'ca.pem')
  const ca = await keepCa(directory, caPath, fresh, now)
  const keyPath = join(directory, 'server.key')
  const key = parseKey(keyPath, keepText(keyPath, makeKey))

  const chainPath = join(directory, 'server.pem')
  let chain = readText(chainPath)
  if (chain === undefined || !serves(chain, ca.certificate, key, names, now)) {
    const { issueServerCertificate } = await import('./certificates.ts')
    const leaf = await issueServerCertificate(
      { certificate: ca.certificate.toString(), key: ca.key },
      key,
      names,
      now,
    )
    chain = leaf + ca.certificate.toString()
    writePrivateFile(chainPath, chain)
  }
  return { caPath, ca: ca.certificate, key: key.export({ type: 'pkcs8', format: 'pem' }).toString(), chain }
}

async function keepCa(directory: string, path: string, fresh: boolean, now: Date) {
  const keyPath = join(directory, 'ca.key')
  const existing = readText(path)
  if (readText(keyPath) === undefined && (existing !== undefined || !fresh))
    throw damaged(keyPath, 'it is missing')
  const key = parseKey(keyPath, keepText(keyPath, makeKey))
  const certificate = parseCertificate(path, existing ?? (await makeCa(path, key, now)))
  if (!certificate.checkPrivateKey(key)) throw damaged(keyPath, `it is not the key of ${path}`)
  return { certificate, key }
}

async function makeCa(path: string, key: KeyObject, now: Date): Promise<string> {
  const { createCaCertificate } = await import('./certificates.ts')
  const pem = await createCaCertificate(key, randomBytes(4).toString('hex'), now)
  return keepText(path, () => pem)
}

/** Whether the certificate still does: right key, right CA, every name, and a month to go. */
function serves(
  chain: string,
  ca: X509Certificate,
  key: KeyObject,
  names: readonly string[],
  now: Date,
): boolean {
  try {
    const leaf = new X509Certificate(chain)
    const covers = (name: string) =>
      (isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name)) !== undefined
    return (
      leaf.checkPrivateKey(key) &&
      leaf.verify(ca.publicKey) &&
      leaf.validToDate.getTime() - now.getTime() > RENEW_BEFORE_MS &&
      leaf.validFromDate <= now &&
      names.every(covers)
    )
  } catch {
    return false
  }
}

const makeKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString()

function parseKey(path: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch {
    throw damaged(path, 'it holds no private key')
  }
}

function parseCertificate(path: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch {
    throw damaged(path, 'it holds no certificate')
  }
}
