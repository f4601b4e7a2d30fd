/** Guards of sessions and their frames. */
import { type Mutation, mutate } from './mutation.ts'

const SESSION = ['gateway', 'gateway/session.test.ts'] as const
const FRAMES = [...SESSION, 'with its code'] as const
const FUZZ_FRAMES = ['host', 'fuzz/frames.test.ts'] as const

export const SESSIONS: readonly Mutation[] = [
  mutate(
    'unknown fields of a frame are accepted',
    [
      'protocol/frames.ts',
      'export const RegisterFrame = z.strictObject({',
      'export const RegisterFrame = z.looseObject({',
    ],
    FRAMES,
  ),
  mutate(
    'a frame with a private key is accepted',
    [
      'durable-objects/frame-reader.ts',
      "if (PRIVATE_KEY_FIELD.test(message)) return err('E_FRAME_PRIVATE_KEY')",
      '',
    ],
    FRAMES,
  ),
  mutate(
    'a frame that names a node is accepted',
    [
      'durable-objects/frame-reader.ts',
      "if (NODE_FIELDS.some((field) => field in json)) return err('E_FRAME_FOREIGN_ID')",
      '',
    ],
    FRAMES,
  ),
  mutate(
    'an oversize frame is read',
    [
      'durable-objects/frame-reader.ts',
      "if (byteLength(message) > MAX_FRAME_BYTES) return err('E_FRAME_TOO_LARGE')",
      '',
    ],
    FRAMES,
  ),
  mutate(
    'sizes are counted in characters',
    [
      'durable-objects/frame-reader.ts',
      'return encoder.encode(text).length',
      'return encoder === undefined ? 0 : text.length',
    ],
    [...FUZZ_FRAMES, 'X3'],
  ),
  mutate(
    'violations are not counted',
    ['durable-objects/session-ends.ts', 'if (violations >= MAX_VIOLATIONS)', 'if (violations < 0)'],
    [...SESSION, 'third refusal'],
  ),
  mutate(
    'floods are not slowed',
    [
      'durable-objects/session-shard.ts',
      "if (!this.#sessions.mayReceive(socket, Date.now())) return this.#ends.violation(socket, 'E_FRAME_RATE')",
      '',
    ],
    [...SESSION, 'E_FRAME_RATE'],
  ),
  mutate(
    'nobody waits for `register`',
    [
      'durable-objects/session-ends.ts',
      "this.refuse(socket, 'E_REGISTER_TIMEOUT', CLOSE.registerTimeout)",
      'return',
    ],
    [...SESSION, 'register comes too late'],
  ),
  mutate(
    'a second session leaves the first',
    [
      'durable-objects/session-start.ts',
      "for (const socket of older) ends.refuse(socket, 'E_SESSION_SUPERSEDED', CLOSE.superseded)",
      '',
    ],
    [...SESSION, 'two sessions of one node'],
  ),
  mutate(
    'a lease never ends',
    ['durable-objects/presence.ts', "if (age >= OFFLINE_AFTER_MS) return 'offline'", ''],
    [...SESSION, 'ends as a lease'],
  ),
  mutate(
    'a removed node keeps its socket',
    ['durable-objects/session-shard.ts', "this.#ends.close(socket, CLOSE.removed, 'E_NODE_REMOVED')", ''],
    [...SESSION, 'is refused to a removed node'],
  ),
]
