/**
 * Limits on requests, held in this isolate's memory: a coarse shield, generous to the honest. First by credential, once it is proven, so
 * that nobody can use up another's share; then refused credentials by address prefix, so that guessing is slow.
 */

import { MAX_RATE_KEYS, REFUSALS_PER_PREFIX, REQUESTS_PER_CREDENTIAL } from '../protocol/limits.ts'
import { RefusedError } from '../protocol/refused-error.ts'
import { type Rate, TokenBucket } from '../protocol/token-bucket.ts'
import type { GatewayContext } from './context.ts'

const buckets = new Map<string, TokenBucket>()

/** @param credential a name of the credential that is not the credential. @throws RefusedError */
export function limitCredential(credential: string): void {
  if (!take(`credential:${credential}`, REQUESTS_PER_CREDENTIAL)) throw new RefusedError('E_RATE_LIMITED')
}

/** Counts a refused credential against where it came from. @throws RefusedError once there were too many. */
export function limitRefusals(c: GatewayContext): void {
  const prefix = addressPrefix(c)
  if (prefix !== undefined && !take(`prefix:${prefix}`, REFUSALS_PER_PREFIX))
    throw new RefusedError('E_RATE_LIMITED')
}

/** IPv4 by /24, IPv6 by /48. */
function addressPrefix(c: GatewayContext): string | undefined {
  const address = clientAddress(c)
  if (address === undefined) return undefined
  return address.includes(':')
    ? address.split(':').slice(0, 3).join(':')
    : address.split('.').slice(0, 3).join('.')
}

/** From whoever accepted the connection: Cloudflare sets this header itself; the embedded gateway's socket takes it from a client, and has `cf` alone. */
function clientAddress(c: GatewayContext): string | undefined {
  if (c.var.config.behindCloudflare) return c.req.header('cf-connecting-ip')
  const peer = c.req.raw.cf?.['clientIp']
  // `address:port`. A socket for both families shows IPv4 as IPv6 (RFC 4291, section 2.5.5.2).
  return typeof peer === 'string' ? peer.replace(/:\d+$/, '').replace(/^\[(?:::ffff:)?|\]$/g, '') : undefined
}

function take(key: string, rate: Rate): boolean {
  const bucket = buckets.get(key) ?? new TokenBucket(rate)
  // Newest last: the first key is the one longest unused, and goes when there are too many.
  buckets.delete(key)
  buckets.set(key, bucket)
  if (buckets.size > MAX_RATE_KEYS) buckets.delete(buckets.keys().next().value ?? '')
  return bucket.take(Date.now())
}
