/** TLS 1.2 or newer, as Cloudflare reports it. A zone's own minimum is better, but is a setting that somebody can forget. */
import { createMiddleware } from 'hono/factory'
import { RefusedError } from '../../protocol/refused-error.ts'
import type { GatewayEnv } from '../context.ts'

const TOO_OLD = new Set(['SSLv3', 'TLSv1', 'TLSv1.0', 'TLSv1.1'])

export const tlsMinimum = createMiddleware<GatewayEnv>(async function tlsMinimum(c, next) {
  const version = c.get('config').behindCloudflare ? c.req.raw.cf?.['tlsVersion'] : undefined
  if (TOO_OLD.has(String(version))) throw new RefusedError('E_TLS_VERSION')
  await next()
})
