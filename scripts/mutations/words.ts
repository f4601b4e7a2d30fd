/** Guards of what is said and logged. */
import { type Mutation, mutate } from './mutation.ts'

const LOG = ['host', 'agent/log.test.ts'] as const
const FUZZ_FRAMES = ['host', 'fuzz/frames.test.ts'] as const

export const WORDS: readonly Mutation[] = [
  mutate('session ids are not masked', ['agent/log.ts', ".replace(UUID, '$1…')", ''], LOG),
  mutate('tokens are not scrubbed', ['agent/log.ts', ".replace(JWT, '[REDACTED token]')", ''], LOG),
  mutate('keys are not scrubbed', ['agent/log.ts', ".replace(KEY, '[REDACTED key]')", ''], LOG),
  mutate(
    'a masked id shows itself',
    [
      'protocol/masked-id.ts',
      'toJSON(): string {\n    return this.toString()',
      'toJSON(): string {\n    return this.#id',
    ],
    ['host', 'findings/secret-forms.test.ts', 'a masked id'],
  ),
  mutate(
    'the argument list is in the error of a command',
    [
      'agent/mesh/exec.ts',
      'reject(new CommandError(program, failure, {',
      "reject(new CommandError([program, ...args].join(' '), failure, {",
    ],
    ['host', 'mesh/exec.test.ts', 'M3.3'],
  ),
  mutate(
    'a key that a command prints is in its error',
    ['agent/mesh/exec.ts', 'const detail = withoutKeys(', 'const detail = String('],
    ['host', 'mesh/exec.test.ts', 'M3.3'],
  ),
  mutate(
    'a refusal of a body repeats it',
    [
      'protocol/request-body.ts',
      "err(refusal('E_BODY_INVALID', 'the body is not JSON'))",
      "err(refusal('E_BODY_INVALID', new TextDecoder().decode(body as Uint8Array)))",
    ],
    ['host', 'findings/outside.test.ts', 'M3.6'],
  ),
  mutate(
    'a failure is told to the client',
    [
      'worker/app.ts',
      "isUnavailable(error) ? 'E_UNAVAILABLE' : 'E_INTERNAL' }, requestId)",
      "isUnavailable(error) ? 'E_UNAVAILABLE' : 'E_INTERNAL', detail: String(error) }, requestId)",
    ],
    ['host', 'findings/audit-first.test.ts'],
  ),
  mutate(
    'the agent logs the fields of a frame',
    [
      'agent/session/gateway-frame.ts',
      "log.warn('the gateway sent a frame with wrong fields', {",
      "log.warn('the gateway sent a frame with wrong fields' + text, {",
    ],
    [...FUZZ_FRAMES, 'logs nothing'],
  ),
]
