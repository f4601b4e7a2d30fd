/** Certificates and TLS servers for tests, made when asked for. */
import { generateKeyPairSync, type KeyObject, randomUUID, X509Certificate } from 'node:crypto'
import { createCaCertificate, issueServerCertificate } from '../../cli/up/certificates.ts'

export interface TestCa {
  readonly pem: string
  readonly certificate: X509Certificate
  /** A server certificate of this CA: what node:tls calls `key` and `cert`. */
  issue(options?: {
    names?: readonly string[]
    daysFromNow?: number
    key?: KeyObject
  }): Promise<TestServerCertificate>
}

export interface TestServerCertificate {
  readonly key: string
  readonly cert: string
  readonly certificate: X509Certificate
}

const DAY_MS = 24 * 60 * 60_000

export async function createTestCa(): Promise<TestCa> {
  const caKey = newKey()
  // From two years ago, so that it has outlived the expired certificates it signs.
  const pem = await createCaCertificate(caKey, randomUUID(), daysFromNow(-730))
  return {
    pem,
    certificate: new X509Certificate(pem),
    async issue({ names = ['localhost', '127.0.0.1'], daysFromNow: days = 0, key = newKey() } = {}) {
      const leaf = await issueServerCertificate(
        { certificate: pem, key: caKey },
        key,
        names,
        daysFromNow(days),
      )
      return {
        key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
        cert: leaf + pem,
        certificate: new X509Certificate(leaf),
      }
    },
  }
}

const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

const daysFromNow = (days: number): Date => new Date(Date.now() + days * DAY_MS)
