/**
 * H-1: plain HTTP gets an error and nothing else. No redirect: whatever credential came along has already crossed the network in clear,
 * and is revoked.
 */
import { createMiddleware } from 'hono/factory'
import { readConfig } from '../../durable-objects/config.ts'
import { type GatewayContext, type GatewayEnv, RefusedError } from '../context.ts'
import { revokeLeaked } from '../leaked-credentials.ts'

/** What Cloudflare reports of TLS that is too old; a zone's own minimum is better, but is a setting somebody can forget. */
const TOO_OLD = new Set(['TLSv1', 'TLSv1.0', 'TLSv1.1', 'SSLv3'])

export const tlsOnly = createMiddleware<GatewayEnv>(async function tlsOnly(c, next) {
  if (new URL(c.req.url).protocol !== 'https:') return refusePlaintext(c)
  if (TOO_OLD.has(String(c.req.raw.cf?.['tlsVersion'] ?? ''))) throw new RefusedError('E_TLS_VERSION')
  await next()
  // A 101 has immutable headers and no page to protect.
  if (c.res.status !== 101)
    c.res.headers.set('strict-transport-security', 'max-age=63072000; includeSubDomains')
})

async function refusePlaintext(c: GatewayContext): Promise<never> {
  c.set('config', await readConfig(c.env))
  const leaked = await revokeLeaked(c)
  throw new RefusedError(
    'E_PLAINTEXT',
    leaked ? 'the credential that came along has been revoked' : undefined,
  )
}
