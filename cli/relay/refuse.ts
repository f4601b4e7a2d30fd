/** A refusal as the gateway words it (RFC 9457), for a request that may be an upgrade. */
import type { Duplex } from 'node:stream'
import { ERRORS, type Problem, type Refusal } from '../../protocol/errors.ts'

export function problemOf({ code, detail }: Refusal, now: number): Problem {
  const { status, title } = ERRORS[code]
  return {
    type: 'about:blank',
    title,
    status,
    code,
    ...(detail !== undefined && { detail }),
    requestId: '',
    time: now,
  }
}

/** Answers an upgrade, whose socket is bare. */
export function refuseUpgrade(socket: Duplex, refusal: Refusal, now: number): void {
  const problem = problemOf(refusal, now)
  const body = JSON.stringify(problem)
  socket.end(
    [
      `HTTP/1.1 ${problem.status} Refused`,
      'content-type: application/problem+json',
      'cache-control: no-store',
      'connection: close',
      `content-length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ].join('\r\n'),
  )
}
