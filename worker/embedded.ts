/**
 * The Worker as `claw up` runs it, with two doors. The public TLS socket is bound to `publicSocket`. Miniflare's own entry, which is made for
 * development and believes headers of whoever connects, listens on loopback for `claw up` alone and leads to the default export, which runs
 * the sweep and serves nothing.
 */
import type { Env } from '../durable-objects/env.ts'
import { problemResponse } from '../durable-objects/problem.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import gateway from './index.ts'

export * from './index.ts'

/** One host or address, and a port: what Cloudflare's edge lets through, while workerd's HTTP server pastes any text into the URL. */
const AUTHORITY = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/i

export const publicSocket = {
  fetch(request, env, ctx) {
    return namesOneTarget(request) ? gateway.fetch(request, env, ctx) : refuse('E_TARGET_INVALID')
  },
} satisfies ExportedHandler<Env>

export default {
  fetch: () => refuse('E_NOT_FOUND'),
  scheduled: gateway.scheduled,
} satisfies ExportedHandler<Env>

/** `Host: a, b` (from two headers), `Host: a/path?`, `OPTIONS *`: none of them may decide which path a request is for. */
function namesOneTarget({ url, headers }: Request): boolean {
  const host = headers.get('host') ?? ''
  return AUTHORITY.test(host) && url.startsWith(`https://${host}/`) && URL.canParse(url)
}

function refuse(code: ErrorCode): Response {
  const requestId = `req_${crypto.randomUUID()}`
  const response = problemResponse({ code }, requestId)
  response.headers.set('claw-request', requestId)
  return response
}
