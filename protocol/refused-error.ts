/** A refusal on its way to the boundary, through code that has nothing to say to it. */
import { type ErrorCode, type Refusal, refusal } from './errors.ts'
import type { Result } from './result.ts'

/** Ends a request; the boundary turns it into a problem. */
export class RefusedError extends Error {
  readonly refusal: Refusal

  constructor(code: ErrorCode, detail?: string) {
    super(code)
    this.refusal = refusal(code, detail)
  }
}

/** The value, or the end of this request. */
export function orRefuse<T>(result: Result<T, Refusal>): T {
  if (!result.ok) throw new RefusedError(result.error.code, result.error.detail)
  return result.value
}
