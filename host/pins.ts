/**
 * Certificate pins (M-1): SHA-256 over a certificate's public key (SPKI), so that a pin survives the renewal of the certificate. A pin is
 * an addition to the ordinary checks of chain, name and dates, never a replacement.
 */
import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate } from 'node:tls'
import * as z from 'zod'
import { EXIT, UserError } from './user-error.ts'

const Pin = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .brand<'Pin'>()
/** 64 hexadecimal digits, lower case. */
export type Pin = z.infer<typeof Pin>

/** Takes 64 hexadecimal digits, with or without colons, or `sha256/BASE64`. */
export function parsePin(text: string): Pin {
  const pin = Pin.safeParse(fromBase64Form(text) ?? text.replaceAll(':', '').toLowerCase())
  if (pin.success) return pin.data
  throw new UserError({
    code: 'E_PIN_INVALID',
    message: 'this is not a certificate fingerprint',
    fix: 'give the SHA-256 of the public key as 64 hexadecimal digits or as sha256/BASE64',
    exitCode: EXIT.badConfig,
  })
}

/** Any certificate of the chain may match, so that a CA can be pinned. Every pair is compared, whatever matched before. */
export function matchesPin(chain: readonly X509Certificate[], pins: readonly Pin[]): boolean {
  let found = false
  for (const certificate of chain) {
    const digest = digestOf(certificate)
    for (const pin of pins) found = timingSafeEqual(digest, Buffer.from(pin, 'hex')) || found
  }
  return found
}

export const spkiSha256 = (certificate: X509Certificate, encoding: 'hex' | 'base64url' = 'hex'): string =>
  digestOf(certificate).toString(encoding)

/**
 * The peer's chain, each link checked: a server may send certificates that have no part in its chain, and one of those must not satisfy
 * a pin.
 */
export function verifiedChain(peer: DetailedPeerCertificate): X509Certificate[] {
  const chain = [new X509Certificate(peer.raw)]
  for (
    let link = peer;
    link.issuerCertificate !== undefined && link.issuerCertificate !== link;
    link = link.issuerCertificate
  ) {
    const subject = new X509Certificate(link.raw)
    const issuer = new X509Certificate(link.issuerCertificate.raw)
    if (!issuer.ca || !subject.checkIssued(issuer) || !subject.verify(issuer.publicKey)) break
    chain.push(issuer)
  }
  return chain
}

const digestOf = (certificate: X509Certificate): Buffer =>
  createHash('sha256')
    .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest()

function fromBase64Form(text: string): string | undefined {
  if (!text.startsWith('sha256/')) return undefined
  const bytes = Buffer.from(text.slice('sha256/'.length), 'base64')
  return `sha256/${bytes.toString('base64')}` === text ? bytes.toString('hex') : ''
}
