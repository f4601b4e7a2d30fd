/** How a session came to its end, as a value: the supervisor decides by it what to do next. */
import type { IncomingMessage } from 'node:http'
import { parseProblem, problemToUserError } from '../../host/problem.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { CLOSE, type GatewayFrame } from '../../protocol/frames.ts'
import { MAX_BODY_BYTES } from '../../protocol/limits.ts'
import { timeOfClockRefusal } from '../gateway-answer.ts'
import { wrongGatewayKey } from '../gateway-keys.ts'
import { parseRetryAfter } from './backoff.ts'

export type SessionEnd =
  /** We closed it. */
  | { readonly kind: 'stopped' }
  /** The node was removed from the fleet: there is nothing to come back to. */
  | { readonly kind: 'removed' }
  /** Another session with this identity took over. */
  | { readonly kind: 'superseded' }
  /** The gateway holds the node until its owner releases it. */
  | { readonly kind: 'quarantined' }
  /** Everything that another attempt may mend. */
  | {
      readonly kind: 'lost'
      readonly problem: UserError
      readonly retryAfterMs?: number | undefined
      /** The gateway's clock, if it refused the proof for its time. */
      readonly gatewayTime?: number | undefined
    }

export type Objection = Extract<GatewayFrame, { type: 'error' }>

export const silent = (): SessionEnd => lost('E_SESSION_SILENT', 'the gateway stopped answering')
export const notRegistered = (): SessionEnd =>
  lost('E_SESSION_SILENT', 'the gateway took the session and then said nothing')
export const notTheGateway = (): SessionEnd => ({ kind: 'lost', problem: wrongGatewayKey() })
export function failed(error: Error): SessionEnd {
  if (!(error instanceof UserError))
    return lost('E_GATEWAY_UNREACHABLE', 'the connection to the gateway failed', error.message)
  return verdict(error.code) ?? { kind: 'lost', problem: error }
}

/** No close frame came (RFC 6455, section 7.1.5). */
const CLOSED_ABNORMALLY = 1006

/** @param objection the gateway's last `error` frame: it says why before it closes. */
export function closed(code: number, objection?: Objection): SessionEnd {
  if (code === CLOSE.removed) return { kind: 'removed' }
  if (code === CLOSE.superseded) return { kind: 'superseded' }
  if (code === CLOSE.quarantined) return { kind: 'quarantined' }
  if (code === CLOSE.intercepted || objection?.code === 'E_CHANNEL') return intercepted()
  if (code === CLOSED_ABNORMALLY) return lost('E_SESSION_LOST', 'the connection to the gateway broke')
  const why = `close code ${code}`
  return objection === undefined
    ? lost('E_SESSION_CLOSED', 'the gateway closed the session', why)
    : lost(objection.code, objection.message, why)
}

/** An upgrade that was answered with something else. @param now for a `Retry-After` that is a date. */
export async function refused(response: IncomingMessage, now: number): Promise<SessionEnd> {
  const body = await readShort(response)
  const problem = parseProblem(body.toString('utf8'))
  const final = problem && verdict(problem.code)
  if (final !== undefined) return final
  const status = response.statusCode ?? 0
  return {
    kind: 'lost',
    problem: problem === undefined ? notAGateway(status) : problemToUserError(problem),
    retryAfterMs: parseRetryAfter(response.headers['retry-after'], now),
    gatewayTime: timeOfClockRefusal({ status, body }),
  }
}

/** What the gateway says of the node itself, rather than of this attempt. */
function verdict(code: string): SessionEnd | undefined {
  if (code === 'E_NODE_REMOVED') return { kind: 'removed' }
  return code === 'E_NODE_QUARANTINED' ? { kind: 'quarantined' } : undefined
}

/** A problem is short; whatever is longer was not written by a gateway, and is not read. */
async function readShort(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > MAX_BODY_BYTES) return Buffer.alloc(0)
      chunks.push(chunk)
    }
  } catch {
    return Buffer.alloc(0)
  }
  return Buffer.concat(chunks)
}

const notAGateway = (status: number): UserError =>
  new UserError({
    code: 'E_GATEWAY_ANSWER',
    message: `the session was refused with status ${status} and no reason`,
    fix: "check the gateway's address",
    exitCode: EXIT.unavailable,
  })

const intercepted = (): SessionEnd => ({
  kind: 'lost',
  problem: new UserError({
    code: 'E_CHANNEL',
    message: "somebody sits between this node and the gateway, with a certificate that is not the gateway's",
    why: 'the gateway has compared the certificate that this node saw with its own',
    fix: 'find the TLS proxy on the way; if it is yours, exempt the gateway from it',
    exitCode: EXIT.auth,
  }),
})

const lost = (code: string, message: string, why?: string): SessionEnd => ({
  kind: 'lost',
  problem: new UserError({ code, message, why, exitCode: EXIT.unavailable }),
})
