/** Errors as the gateway sends them: RFC 9457 problem details with a stable code, and the gateway's time for clocks that are off. */
import { ERRORS, type Problem, type Refusal } from '../protocol/errors.ts'

/** Long enough for a bucket to hold something again, with the client's own jitter on top. */
const RETRY_AFTER_SECONDS = 5

export function problemOf({ code, detail }: Refusal, requestId: string): Problem {
  const { status, title } = ERRORS[code]
  return {
    type: 'about:blank',
    title,
    status,
    code,
    ...(detail !== undefined && { detail }),
    requestId,
    time: Date.now(),
  }
}

export function problemResponse(refusal: Refusal, requestId: string): Response {
  const problem = problemOf(refusal, requestId)
  const { status } = problem
  return new Response(JSON.stringify(problem), {
    status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(status === 429 && { 'retry-after': String(RETRY_AFTER_SECONDS) }),
    },
  })
}
