/**
 * How many frames of a kind may go out: a share of what the gateway's own rule (protocol/limits.ts) allows a session. The shares leave a margin,
 * because two clocks count the same second differently and frames bunch up on the way, so that its refusal is never met.
 */
import { FRAME_BURST, FRAMES_PER_SECOND } from '../../protocol/limits.ts'
import { TokenBucket } from '../../protocol/token-bucket.ts'
import type { Clock } from '../clock.ts'

export class FrameShare {
  readonly #clock: Clock
  readonly #bucket: TokenBucket

  constructor(clock: Clock, share: number) {
    this.#clock = clock
    this.#bucket = new TokenBucket({ burst: FRAME_BURST * share, perSecond: FRAMES_PER_SECOND * share })
  }

  /** Zero if a frame may go out now, and it is counted; else the milliseconds to wait before asking again. */
  take(): number {
    const now = this.#clock.elapsed()
    return this.#bucket.take(now) ? 0 : this.#bucket.wait(now)
  }
}
