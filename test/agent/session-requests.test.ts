import { describe, expect, test } from 'vitest'
import { SessionRequests } from '../../agent/session/session-requests.ts'
import type { NodeFrame } from '../../protocol/frames.ts'
import { FRAME_BURST, MAX_FRAME_BYTES } from '../../protocol/limits.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'
import { ManualClock } from '../support/manual-clock.ts'

const REQUEST = { path: '/v1/node/secrets', proof: 'proof', body: '{}' } as const
const ANSWER = { status: 200, body: '{}', signature: 'signature' }

function over({ isUp = true }: { readonly isUp?: boolean } = {}) {
  const clock = new ManualClock()
  const sent: NodeFrame[] = []
  const requests = new SessionRequests({
    clock,
    send: (frame) => {
      if (isUp) sent.push(frame)
      return isUp
    },
  })
  return { clock, sent, requests }
}

describe('a request over the session', () => {
  test('has the answer of its number, whatever the order', async () => {
    const { requests, clock } = over()
    requests.connected(PROTOCOL_VERSION)
    const [first, second] = [requests.ask(REQUEST), requests.ask(REQUEST)]
    requests.answered({ type: 'answer', n: 1, ...ANSWER, body: 'second' })
    requests.answered({ type: 'answer', n: 1, ...ANSWER, body: 'once more' })
    requests.answered({ type: 'answer', n: 9, ...ANSWER, body: 'of nobody' })
    requests.answered({ type: 'answer', n: 0, ...ANSWER, body: 'first' })
    expect([await first, await second].map((answer) => answer?.body)).toEqual(['first', 'second'])
    expect(clock.pending).toBe(0)
  })

  test('has none where nothing was sent: no session, an older gateway, a frame that is too large', async () => {
    const { requests, sent } = over()
    expect(await requests.ask(REQUEST)).toBeUndefined()
    requests.connected(2)
    expect(await requests.ask(REQUEST)).toBeUndefined()
    requests.connected(PROTOCOL_VERSION)
    expect(await requests.ask({ ...REQUEST, body: 'ü'.repeat(MAX_FRAME_BYTES / 2) })).toBeUndefined()
    expect(sent).toEqual([])
    const down = over({ isUp: false })
    down.requests.connected(PROTOCOL_VERSION)
    expect(await down.requests.ask(REQUEST)).toBeUndefined()
  })

  test('has none when the session ends, or the gateway keeps silent', async () => {
    const { requests, clock } = over()
    requests.connected(PROTOCOL_VERSION)
    const [lost] = [requests.ask(REQUEST)]
    requests.disconnected()
    expect(await lost).toBeUndefined()
    requests.connected(PROTOCOL_VERSION)
    const silent = requests.ask(REQUEST)
    clock.advance(10_000)
    expect(await silent).toBeUndefined()
    expect(clock.pending).toBe(0)
  })

  test('leaves most of the frames that a session may send to others', async () => {
    const { requests, sent } = over()
    requests.connected(PROTOCOL_VERSION)
    const asked = Array.from({ length: FRAME_BURST }, () => requests.ask(REQUEST))
    expect(sent.length).toBeGreaterThan(10)
    expect(sent.length).toBeLessThan(FRAME_BURST / 4)
    requests.disconnected()
    expect(await Promise.all(asked)).not.toContainEqual(expect.anything())
  })
})
