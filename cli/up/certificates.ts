/** Makes the X.509 certificates (RFC 5280) of a gateway that has a CA of its own. */
import 'reflect-metadata'
import { createPublicKey, type KeyObject } from 'node:crypto'
import { isIP } from 'node:net'
import * as x509 from '@peculiar/x509'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const HOUR_MS = 60 * 60_000
const DAY_MS = 24 * HOUR_MS
/** The clock of the other side may be behind. */
const BACKDATING_MS = HOUR_MS
const CA_LIFE_MS = 10 * 365 * DAY_MS
/** Browsers refuse certificates that live longer than 398 days. */
const LEAF_LIFE_MS = 397 * DAY_MS - BACKDATING_MS

/** @param label makes the subject unique, so that two CAs are not taken for each other. */
export async function createCaCertificate(key: KeyObject, label: string, now: Date): Promise<string> {
  const name = `CN=Clawbernetes CA ${label}`
  const publicKey = await publicKeyOf(key)
  const certificate = await x509.X509CertificateGenerator.create({
    subject: name,
    issuer: name,
    publicKey,
    signingKey: await privateKeyOf(key),
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(now.getTime() - BACKDATING_MS),
    notAfter: new Date(now.getTime() + CA_LIFE_MS),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  })
  return pemOf(certificate)
}

export async function issueServerCertificate(
  ca: { readonly certificate: string; readonly key: KeyObject },
  key: KeyObject,
  names: readonly string[],
  now: Date,
): Promise<string> {
  const issuer = new x509.X509Certificate(ca.certificate)
  const publicKey = await publicKeyOf(key)
  const certificate = await x509.X509CertificateGenerator.create({
    subject: 'CN=Clawbernetes gateway',
    issuer: issuer.subject,
    publicKey,
    signingKey: await privateKeyOf(ca.key),
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(now.getTime() - BACKDATING_MS),
    notAfter: new Date(now.getTime() + LEAF_LIFE_MS),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  })
  return pemOf(certificate)
}

const privateKeyOf = (key: KeyObject) =>
  crypto.subtle.importKey('pkcs8', key.export({ type: 'pkcs8', format: 'der' }), ALGORITHM, false, ['sign'])

const publicKeyOf = (key: KeyObject) =>
  crypto.subtle.importKey(
    'spki',
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
    ALGORITHM,
    true,
    ['verify'],
  )

const pemOf = (certificate: x509.X509Certificate): string => `${certificate.toString('pem')}\n`
