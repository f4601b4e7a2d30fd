/**
 * The gateway's time, by which proofs are signed. A machine whose clock is some minutes off works all the same; one that is further off is
 * a machine to be looked at, because its TLS checks mean nothing either.
 */
import { EXIT, UserError } from '../host/user-error.ts'
import { MAX_CLOCK_OFFSET_MS } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { Clock } from './clock.ts'

export class GatewayClock {
  readonly #clock: Clock
  #offsetMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Unix milliseconds, as the gateway counts them. */
  now(): number {
    return this.#clock.now() + this.#offsetMs
  }

  /** @param gatewayTime Unix milliseconds, from an answer that has just come. */
  correct(gatewayTime: number): Result<{ readonly offsetMs: number }, UserError> {
    const offsetMs = gatewayTime - this.#clock.now()
    if (Math.abs(offsetMs) > MAX_CLOCK_OFFSET_MS) return err(skewed(offsetMs, gatewayTime))
    this.#offsetMs = offsetMs
    return ok({ offsetMs })
  }
}

function skewed(offsetMs: number, gatewayTime: number): UserError {
  const minutes = Math.round(Math.abs(offsetMs) / 60_000)
  const direction = offsetMs > 0 ? 'behind' : 'ahead of'
  return new UserError({
    code: 'E_CLOCK_SKEW',
    message: `this machine's clock is ${minutes} minutes ${direction} the gateway's, which says ${iso(gatewayTime)}`,
    fix: 'set the clock, for instance with `timedatectl set-ntp true`',
    exitCode: EXIT.failure,
  })
}

/** A gateway may send any integer, and not each of them is a date. */
function iso(time: number): string {
  const date = new Date(time)
  return Number.isNaN(date.getTime()) ? 'no date' : date.toISOString()
}
