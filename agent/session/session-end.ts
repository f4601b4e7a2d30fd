/**
 * How a session came to its end, as a value: the supervisor decides by it what to do next. That a node was removed or is held is believed only
 * of the gateway itself: in a session that is up, or in a refusal that it has signed.
 */
import type { IncomingMessage } from 'node:http'
import { parseProblem, problemToUserError } from '../../host/problem.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { ERRORS } from '../../protocol/errors.ts'
import { CLOSE, type GatewayFrame } from '../../protocol/frames.ts'
import { MAX_BODY_BYTES } from '../../protocol/limits.ts'
import { type Answer, timeOfClockRefusal } from '../gateway-answer.ts'
import { wrongGatewayKey } from '../gateway-keys.ts'
import { parseRetryAfter } from './backoff.ts'
import type { Dialled } from './dial.ts'

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

/** The end of a session that was up. @param objection the gateway's last `error` frame: it says why before it closes. */
export function closed(code: number, objection?: Objection): SessionEnd {
  if (code === CLOSE.removed) return { kind: 'removed' }
  if (code === CLOSE.superseded) return { kind: 'superseded' }
  if (code === CLOSE.quarantined) return { kind: 'quarantined' }
  if (code === CLOSED_ABNORMALLY) return broken()
  const why = `close code ${code}`
  return objection === undefined ? closedBy(why) : lost(objection.code, objection.message, why)
}

/**
 * The end of a session before the gateway has proved that it is the gateway. Whatever it claims of the node, the next upgrade is answered with
 * a signature or not at all.
 */
export function closedUnproved(code: number, objection?: Objection): SessionEnd {
  if (code === CLOSE.intercepted || objection?.code === 'E_CHANNEL') return intercepted()
  if (objection === undefined && code === CLOSED_ABNORMALLY) return broken()
  const why = `close code ${code}, before the gateway had proved itself`
  // Nobody shall throw away a node's directory because an impostor says that it was removed.
  if (objection === undefined || CLAIMS.has(objection.code)) return closedBy(why)
  return lost(objection.code, ERRORS[objection.code].title, why)
}

/** An upgrade that was answered with something else. @param now for a `Retry-After` that is a date. */
export async function refused(
  response: IncomingMessage,
  authenticate: Dialled['authenticate'],
  now: number,
): Promise<SessionEnd> {
  const { statusCode: status = 0, headers } = response
  const body = await readShort(response)
  if (body === undefined) return broken()
  const answer = await authenticate({ status, headers, body })
  const end = answer.ok ? refusedByGateway(answer.value) : ({ kind: 'lost', problem: answer.error } as const)
  return end.kind === 'lost' ? { ...end, retryAfterMs: parseRetryAfter(headers['retry-after'], now) } : end
}

function refusedByGateway(answer: Answer): SessionEnd {
  const problem = parseProblem(answer.body)
  if (problem === undefined) return { kind: 'lost', problem: senseless(answer.status) }
  return (
    verdict(problem.code) ?? {
      kind: 'lost',
      problem: problemToUserError(problem),
      gatewayTime: timeOfClockRefusal(answer),
    }
  )
}

/** What is said of the node, or decides how long it waits. */
const CLAIMS: ReadonlySet<string> = new Set(['E_NODE_REMOVED', 'E_NODE_QUARANTINED', 'E_SESSION_SUPERSEDED'])

/** What the gateway says of the node itself, rather than of this attempt. */
function verdict(code: string): SessionEnd | undefined {
  if (code === 'E_NODE_REMOVED') return { kind: 'removed' }
  return code === 'E_NODE_QUARANTINED' ? { kind: 'quarantined' } : undefined
}

/** A problem is short; whatever is longer was not written by a gateway, and is not read. Undefined then, and if it breaks off. */
async function readShort(response: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > MAX_BODY_BYTES) return undefined
      chunks.push(chunk)
    }
  } catch {
    return undefined
  }
  return Buffer.concat(chunks)
}

const senseless = (status: number): UserError =>
  new UserError({
    code: 'E_GATEWAY_ANSWER',
    message: `the gateway refused the session with status ${status} and no reason`,
    fix: 'see that it and this agent are of one version',
    exitCode: EXIT.unavailable,
  })

const broken = (): SessionEnd => lost('E_SESSION_LOST', 'the connection to the gateway broke')
const closedBy = (why: string): SessionEnd => lost('E_SESSION_CLOSED', 'the gateway closed the session', why)

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
