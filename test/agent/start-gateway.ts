/** A fake gateway with a CA and a certificate of its own, made once for each test file. */
import 'reflect-metadata'
import type { webcrypto } from 'node:crypto'
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { FakeGateway } from '../support/fake-gateway.ts'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const DAY = 24 * 60 * 60_000

export const certificates = await makeCertificates()

export const startGateway = (): Promise<FakeGateway> => FakeGateway.start(certificates)

async function makeCertificates() {
  const keyPair = () => crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const [caKeys, keys] = await Promise.all([keyPair(), keyPair()])
  const dates = { notBefore: new Date(Date.now() - DAY), notAfter: new Date(Date.now() + DAY) }
  const ca = await X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=test CA',
    ...dates,
    keys: caKeys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
    ],
  })
  const leaf = await X509CertificateGenerator.create({
    serialNumber: '02',
    subject: 'CN=gateway',
    issuer: ca.subject,
    ...dates,
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [new SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }])],
  })
  return { ca: ca.toString('pem'), cert: leaf.toString('pem'), key: await privateKeyPem(keys.privateKey) }
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', key)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`
}
