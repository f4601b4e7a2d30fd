/**
 * When to dial again. Every deploy of the gateway closes every socket at once, so the first attempt is spread as well as the later ones:
 * with this policy ten thousand nodes are back within a minute and never arrive in one second.
 */
import {
  RECONNECT_BASE_MS,
  RECONNECT_CAP_MS,
  RECONNECT_FIRST_MS,
  RECONNECT_STABLE_MS,
} from '../../protocol/limits.ts'

/**
 * `Retry-After` counts up to here. No header is signed: whoever is in between for a moment must not silence a node for longer than the agent
 * would wait by itself.
 */
export const MAX_RETRY_AFTER_MS = RECONNECT_CAP_MS
/** After another session of this identity took over: long enough that two clones do not keep throwing each other out. */
export const SUPERSEDED_WAIT_MS = 5 * 60_000

/** How an attempt ended. `livedMs` is how long the session was registered, undefined if it never was. */
export interface Attempt {
  readonly livedMs: number | undefined
  readonly retryAfterMs?: number | undefined
}

export interface Wait {
  readonly delayMs: number
  /** To be handed in next time. */
  readonly failures: number
}

/** @param failures attempts since the last stable session. @param random uniform in [0, 1). */
export function nextWait(failures: number, { livedMs, retryAfterMs }: Attempt, random: number): Wait {
  if (livedMs !== undefined && livedMs >= RECONNECT_STABLE_MS) {
    return { delayMs: atLeast(retryAfterMs) + random * RECONNECT_FIRST_MS, failures: 0 }
  }
  const grown = Math.min(RECONNECT_CAP_MS, RECONNECT_BASE_MS * 2 ** failures)
  // A session that was up, however briefly, may have been closed together with all others.
  const ceiling = livedMs === undefined ? grown : Math.max(RECONNECT_FIRST_MS, grown)
  return { delayMs: atLeast(retryAfterMs) + random * ceiling, failures: failures + 1 }
}

/** Uniform in one to two times the long wait. */
export const supersededWait = (random: number): number => SUPERSEDED_WAIT_MS * (1 + random)

/**
 * `Retry-After` (RFC 9110, section 10.2.3) as milliseconds from `now`: seconds or a date. Jitter comes on top of it, because the
 * gateway told everybody the same.
 */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined
  const ms = /^[0-9]+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}

const atLeast = (retryAfterMs: number | undefined): number =>
  Math.min(MAX_RETRY_AFTER_MS, Math.max(0, retryAfterMs ?? 0))
