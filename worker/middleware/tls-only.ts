/** H-1: plain HTTP gets an error and nothing else. No redirect: whatever credential came along has already crossed the network in clear. */
import { createMiddleware } from 'hono/factory'
import { type GatewayEnv, RefusedError } from '../context.ts'

export const tlsOnly = createMiddleware<GatewayEnv>(async function tlsOnly(c, next) {
  if (new URL(c.req.url).protocol !== 'https:') throw new RefusedError('E_PLAINTEXT')
  await next()
  // A 101 has immutable headers and no page to protect.
  if (c.res.status !== 101)
    c.res.headers.set('strict-transport-security', 'max-age=63072000; includeSubDomains')
})
