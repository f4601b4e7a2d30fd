/** Errors as the gateway sends them: RFC 9457 problem details with a stable code, and the gateway's time for clocks that are off. */
import { ERRORS, type Problem, type Refusal } from '../protocol/errors.ts'

export function problemResponse({ code, detail }: Refusal, requestId: string): Response {
  const { status, title } = ERRORS[code]
  const problem: Problem = {
    type: 'about:blank',
    title,
    status,
    code,
    ...(detail !== undefined && { detail }),
    requestId,
    time: Date.now(),
  }
  return new Response(JSON.stringify(problem), {
    status,
    headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store' },
  })
}
