/** A signed request by way of the agent that runs on this node, whose connection to the gateway stands already. */
import * as z from 'zod'
import { utf8 } from '../crypto/bytes.ts'
import { UserError } from '../host/user-error.ts'
import { ANSWER_SIGNATURE_HEADER } from '../protocol/proof.ts'
import type { ReceivedAnswer } from './gateway-answer.ts'
import { callAgent } from './local-status.ts'
import type { CarriedRequest } from './session/session-requests.ts'

export const CARRY_PATH = '/gateway-request'

/** Longer than the agent waits for the gateway. */
const TIMEOUT_MS = 7_000

/** What the agent says of it; `null` where its session cannot carry it. */
const Carried = z.object({ status: z.int(), body: z.string(), signature: z.string() }).nullable()

/** Undefined if no agent runs on this directory, or if it could not: then nothing of the gateway's came. */
export async function carryByAgent(
  directory: string,
  request: CarriedRequest,
): Promise<ReceivedAnswer | undefined> {
  try {
    const answer = await callAgent(directory, 'POST', CARRY_PATH, Carried, TIMEOUT_MS, request)
    if (answer === undefined || answer === null) return undefined
    const { status, body, signature } = answer
    return { status, headers: { [ANSWER_SIGNATURE_HEADER]: signature }, body: utf8(body) }
  } catch (error) {
    // An agent that is older, or busy with its end, is no reason to go without the secret.
    if (error instanceof UserError) return undefined
    throw error
  }
}
