/** M1.3: a pin is matched against the chain that was verified, not against whatever the server sends along with the right names on it. */
import 'reflect-metadata'
import { createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate } from 'node:tls'
import * as x509 from '@peculiar/x509'
import { expect, test } from 'vitest'
import { matchesPin, parsePin, spkiSha256, verifiedChain } from '../../host/pins.ts'
import { createTestCa } from '../support/certificates.ts'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/** A CA with the name and the key identifier of another, and a key of its own. */
async function impostorOf(genuine: X509Certificate, key: KeyObject): Promise<X509Certificate> {
  const original = new x509.X509Certificate(genuine.raw)
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' })
  const certificate = await x509.X509CertificateGenerator.create({
    subject: original.subject,
    issuer: original.issuer,
    publicKey: await crypto.subtle.importKey('spki', spki, ALGORITHM, true, ['verify']),
    signingKey: await crypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, false, ['sign']),
    signingAlgorithm: ALGORITHM,
    notBefore: original.notBefore,
    notAfter: original.notAfter,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      new x509.SubjectKeyIdentifierExtension(
        original.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId ?? '',
      ),
    ],
  })
  return new X509Certificate(Buffer.from(certificate.rawData))
}

test('a CA that only looks like the one that signed does not satisfy its own pin', async () => {
  const ca = await createTestCa()
  const { certificate: leaf } = await ca.issue()
  const impostor = await impostorOf(
    ca.certificate,
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  )
  // Names and key identifiers fit, so that nothing but the signature tells them apart.
  expect(leaf.checkIssued(impostor)).toBe(true)

  const sent = (issuer: X509Certificate) =>
    ({ raw: leaf.raw, issuerCertificate: { raw: issuer.raw } }) as DetailedPeerCertificate
  const chainOf = (issuer: X509Certificate) => verifiedChain(sent(issuer)).map((link) => spkiSha256(link))
  expect(chainOf(ca.certificate)).toEqual([spkiSha256(leaf), spkiSha256(ca.certificate)])
  expect(chainOf(impostor)).toEqual([spkiSha256(leaf)])
  expect(matchesPin(verifiedChain(sent(impostor)), [parsePin(spkiSha256(impostor))])).toBe(false)
})
