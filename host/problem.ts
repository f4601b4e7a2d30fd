/** The gateway's refusals (RFC 9457 problem details) as errors for the person at the terminal. */
import * as z from 'zod'
import type { Problem } from '../protocol/errors.ts'
import { parseJson } from '../protocol/json.ts'
import { EXIT, UserError } from './user-error.ts'

/** A newer gateway may know codes that this program does not; they are shown as they come. */
type ReceivedProblem = Pick<Problem, 'title' | 'status' | 'requestId'> & {
  readonly code: string
  readonly detail?: string | undefined
}

const ProblemShape: z.ZodType<ReceivedProblem> = z.object({
  title: z.string(),
  status: z.int(),
  code: z.string(),
  detail: z.string().optional(),
  requestId: z.string(),
})

export function problemToUserError(problem: ReceivedProblem): UserError {
  return new UserError({
    code: problem.code,
    message: problem.title,
    why: problem.detail,
    exitCode: exitCodeOf(problem),
    requestId: problem.requestId,
  })
}

/** Undefined if the body is not a problem: something other than the gateway answered. */
export const parseProblem = (body: string | Uint8Array): ReceivedProblem | undefined =>
  ProblemShape.safeParse(parseJson(body)).data

function exitCodeOf({ code, status }: ReceivedProblem): number {
  if (code === 'E_NODE_REMOVED') return EXIT.revoked
  return BY_STATUS[status] ?? EXIT.failure
}

const BY_STATUS: Readonly<Record<number, number>> = {
  401: EXIT.auth,
  403: EXIT.denied,
  404: EXIT.notFound,
  408: EXIT.timeout,
  409: EXIT.conflict,
  429: EXIT.temporary,
  503: EXIT.unavailable,
  504: EXIT.timeout,
}
