/**
 * H-1: plain HTTP gets an error and nothing else. No redirect: whatever credential came along has already crossed the network in clear,
 * and is revoked.
 */
import { createMiddleware } from 'hono/factory'
import { readConfig } from '../../durable-objects/config.ts'
import { RefusedError } from '../../protocol/refused-error.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { revokeLeaked } from '../leaked-credentials.ts'

export const tlsOnly = createMiddleware<GatewayEnv>(async function tlsOnly(c, next) {
  // The platform writes the scheme itself, in small letters.
  if (!c.req.url.startsWith('https:')) return refusePlaintext(c)
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
