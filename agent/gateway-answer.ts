/** What the gateway answered to a signed request: the reply it should be, or the reason why not. */
import type { IncomingHttpHeaders } from 'node:http'
import * as z from 'zod'
import { answerTranscript, decodeGatewayProof } from '../crypto/gateway-proof.ts'
import { parseProblem, problemToUserError } from '../host/problem.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { parseJson } from '../protocol/json.ts'
import { ANSWER_SIGNATURE_HEADER } from '../protocol/proof.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { GatewayClock } from './gateway-clock.ts'
import { type GatewayKeys, wrongGatewayKey } from './gateway-keys.ts'

export interface Answer {
  readonly status: number
  readonly body: Uint8Array
}

/** As it came, from whoever was there. */
export interface ReceivedAnswer extends Answer {
  readonly headers: IncomingHttpHeaders
}

/**
 * Status and body, if the gateway itself has given them to this very request; its headers are nobody's word. Without a signature a refusal is
 * that of an edge or a proxy, behind which the gateway is out of reach; whoever claims a success or a signature claims to be the gateway.
 *
 * @param proof the request's, which the signature must name.
 */
export async function authenticate(
  { status, headers, body }: ReceivedAnswer,
  proof: string,
  keys: GatewayKeys,
): Promise<Result<Answer, UserError>> {
  const header = headers[ANSWER_SIGNATURE_HEADER]
  if (header === undefined && status >= 300) return err(notTheGatewaysAnswer(status))
  const signature = typeof header === 'string' ? decodeGatewayProof(header) : undefined
  if (signature === undefined) return err(wrongGatewayKey())
  const genuine = await keys.verify(signature, await answerTranscript({ proof, status, body }))
  return genuine ? ok({ status, body }) : err(wrongGatewayKey())
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
  const problem = parseProblem(body)
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

/** Of its body nothing is shown: whoever wrote it is not the gateway. */
const notTheGatewaysAnswer = (status: number): UserError =>
  new UserError({
    code: 'E_GATEWAY_UNREACHABLE',
    message: 'the gateway cannot be reached',
    why: `something before it answers with status ${status}, which the gateway has not signed`,
    fix: "try again; if it stays so, ask whoever runs the gateway, and look for a proxy on this machine's way to it",
    exitCode: EXIT.unavailable,
  })
