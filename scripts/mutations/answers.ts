/** Guards of the gateway's signed answers. */
import { type Mutation, mutate } from './mutation.ts'

const IMPOSTOR = ['host', 'agent/impostor.test.ts'] as const
const SIGNED = ['gateway', 'gateway/signed-answer.test.ts'] as const
const FAILURE = ['gateway', 'gateway/frame-failure.test.ts'] as const

export const ANSWERS: readonly Mutation[] = [
  mutate(
    'an answer is believed without a look at its signature',
    [
      'agent/node-client.ts',
      'const answer = await authenticate(received, jwt, this.#options.gatewayKeys)',
      'const answer = { ok: true as boolean, value: received, error: authenticate }',
    ],
    [...IMPOSTOR, 'a reply'],
  ),
  mutate(
    'an answer is believed whoever has signed it',
    ['agent/gateway-answer.ts', 'return genuine ? ok(', 'return genuine !== undefined ? ok('],
    [...IMPOSTOR, 'is not taken for'],
  ),
  mutate(
    'a refusal is believed unsigned',
    [
      'agent/gateway-answer.ts',
      'status >= 300) return err(notTheGatewaysAnswer(status))',
      'status >= 300) return notTheGatewaysAnswer && ok({ status, body })',
    ],
    [...IMPOSTOR, 'without a signature'],
  ),
  mutate(
    'an unsigned refusal of an upgrade is a verdict',
    [
      'agent/session/session-end.ts',
      'const answer = await authenticate({ status, headers, body })',
      'const answer = { ok: authenticate !== undefined, value: { status, body }, error: undefined as never }',
    ],
    [...IMPOSTOR, 'in place of a session'],
  ),
  mutate(
    'a close code is a verdict before the gateway has proved itself',
    [
      'agent/session/session.ts',
      '(proved ? closed : closedUnproved)',
      '(proved ? closed : closedUnproved && closed)',
    ],
    [...IMPOSTOR, 'before `registered`'],
  ),
  mutate(
    'an impostor’s Retry-After silences a node',
    [
      'agent/session/backoff.ts',
      'Math.min(MAX_RETRY_AFTER_MS, Math.max(0, retryAfterMs ?? 0))',
      'Math.max(0, retryAfterMs ?? 0)',
    ],
    ['host', 'agent/session.test.ts', 'Retry-After'],
  ),
  mutate(
    'an answer that was overtaken brings the old gateway key back',
    [
      'agent/gateway-keys.ts',
      'keys === undefined || !this.#accepted.includes(proof.key)',
      'keys === undefined',
    ],
    [...IMPOSTOR, 'that cross'],
  ),
  mutate(
    'the signature of an answer is for any proof',
    ['crypto/gateway-proof.ts', 'await bodyHash(utf8(proof))', 'await bodyHash(utf8(proof.slice(0, 20)))'],
    [...SIGNED, 'another proof with the same id'],
  ),
  mutate(
    'the signature of an answer is for any status',
    ['crypto/gateway-proof.ts', 'String(status)', "'200'"],
    [...SIGNED, 'each kind of refusal'],
  ),
  mutate(
    'the signature of an answer is for any body',
    [
      'crypto/gateway-proof.ts',
      'String(status), await bodyHash(body))',
      'String(status), await bodyHash(body.slice(0, 0)))',
    ],
    [...SIGNED, 'each kind of refusal'],
  ),
  mutate(
    'the refusals of an upgrade are not signed',
    ['worker/app.ts', "app.use('/v1/session', signedAnswer)", ''],
    [...SIGNED, 'refusals of an upgrade'],
  ),
  mutate(
    'a node’s requests are answered unsigned',
    ['worker/app.ts', "app.use('/v1/node/*', signedAnswer)", ''],
    [...SIGNED, 'each kind of refusal'],
  ),
  mutate(
    'whoever sends no proof gets a signature',
    ['worker/middleware/signed-answer.ts', 'proof === undefined || ', ''],
    [...SIGNED, 'no signature'],
  ),
  mutate(
    'a frame that fails is not answered',
    ['durable-objects/session-shard.ts', '      this.#ends.failed(socket, error)', '      throw error'],
    FAILURE,
  ),
  mutate(
    'a register that failed leaves its socket open',
    [
      'durable-objects/session-ends.ts',
      'else this.refuse(socket, code, CLOSE.failed)',
      'else sendError(socket, code)',
    ],
    [...FAILURE, 'has not begun'],
  ),
  mutate(
    'a frame that fails shows the whole id of its session',
    ['durable-objects/session-ends.ts', 'session: String(new MaskedId(proof))', 'session: proof'],
    [...FAILURE, 'has not begun'],
  ),
]
