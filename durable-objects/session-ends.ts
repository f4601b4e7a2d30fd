/** How sessions end, each with one reason that its node is told, and what happens to a frame that is not as it should be. */
import type { ErrorCode } from '../protocol/errors.ts'
import { CLOSE } from '../protocol/frames.ts'
import { MAX_VIOLATIONS, REGISTER_TIMEOUT_MS } from '../protocol/limits.ts'
import { MaskedId } from '../protocol/masked-id.ts'
import { isUnavailable } from './call-object.ts'
import { closeQuietly, sendError } from './close.ts'
import { count } from './counters.ts'
import type { Sessions } from './sessions.ts'

export class SessionEnds {
  readonly #sessions: Sessions
  readonly #registerTimers = new WeakMap<WebSocket, number>()

  constructor(sessions: Sessions) {
    this.#sessions = sessions
  }

  /** A timer, not an alarm: an alarm is a row. A pending timer keeps the object from hibernating, so it cannot be lost with the memory. */
  expectRegister(socket: WebSocket): void {
    this.#registerTimers.set(
      socket,
      setTimeout(() => this.#closeUnregistered(socket), REGISTER_TIMEOUT_MS),
    )
  }

  registered(socket: WebSocket): void {
    clearTimeout(this.#registerTimers.get(socket) ?? null)
  }

  /** The frame is refused; too many of those end the session. */
  violation(socket: WebSocket, code: ErrorCode): void {
    count('frames_refused')
    sendError(socket, code)
    const violations = (this.#sessions.get(socket)?.violations ?? 0) + 1
    this.#sessions.update(socket, { violations })
    if (violations >= MAX_VIOLATIONS) this.close(socket, CLOSE.violations, code)
  }

  /** A session that is up stays up: the sweep mends what the frame did not do. One that is not has to begin anew. */
  failed(socket: WebSocket, error: unknown): void {
    const { proof = '', node, state } = this.#sessions.get(socket) ?? {}
    console.error({
      event: 'frame_failed',
      session: String(new MaskedId(proof)),
      node,
      state,
      error: String(error),
    })
    const code = isUnavailable(error) ? 'E_UNAVAILABLE' : 'E_INTERNAL'
    if (state === 'live') sendError(socket, code)
    else this.refuse(socket, code, CLOSE.failed)
  }

  refuse(socket: WebSocket, code: ErrorCode, closeCode: number): void {
    sendError(socket, code)
    this.close(socket, closeCode, code)
  }

  /** Presence first, since the close event finds the session over and leaves it alone. */
  close(socket: WebSocket, code: number, reason = ''): void {
    this.registered(socket)
    this.#sessions.end(socket)
    closeQuietly(socket, code, reason)
  }

  #closeUnregistered(socket: WebSocket): void {
    const state = this.#sessions.get(socket)?.state
    if (state === 'opened' || state === 'registering')
      this.refuse(socket, 'E_REGISTER_TIMEOUT', CLOSE.registerTimeout)
  }
}
