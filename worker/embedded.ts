/**
 * The Worker as `claw up` runs it, with two doors. The public TLS socket is bound to `publicSocket`. Miniflare's own entry, which is made for
 * development and believes headers of whoever connects, listens on loopback and leads to the default export, which does what `claw up` asks
 * of it and serves nobody else.
 */
import { equalBytes } from '@noble/ciphers/utils.js'
import { utf8 } from '../crypto/bytes.ts'
import type { Env } from '../durable-objects/env.ts'
import { problemResponse } from '../durable-objects/problem.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import { applyMigrations, type Migration } from './embedded-migrations.ts'
import gateway from './index.ts'

export * from './index.ts'

/** One host or address, and a port: what Cloudflare's edge lets through, while workerd's HTTP server pastes any text into the URL. */
const AUTHORITY = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/i

export const publicSocket = {
  fetch(request, env, ctx) {
    return namesOneTarget(request) ? gateway.fetch(request, env, ctx) : refuse('E_TARGET_INVALID')
  },
} satisfies ExportedHandler<Env>

interface Kept {
  /** Drawn by `claw up` at each start: others on this machine can reach its entry, but not say this. */
  readonly KEEPER_KEY?: string
  /** JSON of `Migration[]`. */
  readonly MIGRATIONS: string
}

export default {
  async fetch(request, env, ctx) {
    if (!isKeeper(request.headers.get('claw-keeper'), env)) return refuse('E_NOT_FOUND')
    switch (new URL(request.url).pathname) {
      case '/migrate':
        await applyMigrations(env.DB, JSON.parse(env.MIGRATIONS) as readonly Migration[])
        return new Response(null, { status: 204 })
      case '/sweep':
        await gateway.scheduled(undefined, env, ctx)
        return new Response(null, { status: 204 })
      default:
        return refuse('E_NOT_FOUND')
    }
  },
} satisfies ExportedHandler<Env & Kept>

function isKeeper(said: string | null, { KEEPER_KEY }: Kept): boolean {
  // Two keys that are missing would be the same.
  if (said === null || !KEEPER_KEY) return false
  return equalBytes(utf8(said), utf8(KEEPER_KEY))
}

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
