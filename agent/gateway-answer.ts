/** What the gateway answered to a signed request: the reply it should be, or the reason why not. */
import * as z from 'zod'
import { parseProblem, problemToUserError } from '../host/problem.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import type { GatewayClock } from './gateway-clock.ts'

export interface Answer {
  readonly status: number
  readonly body: Uint8Array
}

const ClockRefusal = z.object({ code: z.literal('E_PROOF_EXPIRED'), time: z.int() })

/** The gateway's time, if it refused a proof for being outside its minute. */
export function timeOfClockRefusal({ body }: Answer): number | undefined {
  return ClockRefusal.safeParse(parseJson(body)).data?.time
}

/** Signs and sends, and once more with a corrected clock if that was what was wrong. */
export async function sendSigned<T extends { readonly answer: Answer }>(
  clock: GatewayClock,
  attempt: (now: number) => Promise<T>,
): Promise<T> {
  const first = await attempt(clock.now())
  const time = timeOfClockRefusal(first.answer)
  if (time === undefined) return first
  const corrected = clock.correct(time)
  if (!corrected.ok) throw corrected.error
  return attempt(clock.now())
}

/** @throws UserError with the gateway's own code if it refused. */
export function parseAnswer<T>(schema: z.ZodType<T>, answer: Answer): T {
  const reply = schema.safeParse(parseJson(answer.body))
  if (answer.status < 300 && reply.success) return reply.data
  throw answer.status < 300 ? unexpected('its reply has an unknown form') : refused(answer)
}

function refused({ status, body }: Answer): UserError {
  const problem = parseProblem(Buffer.from(body).toString('utf8'))
  return problem === undefined ? unexpected(`status ${status} without a reason`) : problemToUserError(problem)
}

const unexpected = (why: string): UserError =>
  new UserError({
    code: 'E_GATEWAY_ANSWER',
    message: 'what answered is not a gateway that this agent understands',
    why,
    fix: "check the gateway's address, and that it and this agent are of one version",
    exitCode: EXIT.unavailable,
  })

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'))
  } catch {
    return undefined
  }
}
