import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createLog } from '../../agent/log.ts'
import { Identity } from '../../crypto/identity.ts'

const capture = (level: 'debug' | 'info' = 'info') => {
  const lines: string[] = []
  const log = createLog({ level, write: (line) => lines.push(line), now: () => 0 })
  return { log, lines }
}

describe('log', () => {
  test('is one JSON object a line, without the fields that are not there', () => {
    const { log, lines } = capture()
    log.info('session up', { heartbeatMs: 15_000, why: undefined })
    expect(lines).toEqual([
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"session up","heartbeatMs":15000}\n',
    ])
  })

  test('leaves out what is below its level', () => {
    const { log, lines } = capture()
    log.debug('detail')
    expect(lines).toEqual([])
  })

  test('shows eight characters of a session id, wherever it comes in, at every level (L-2)', () => {
    const id = randomUUID()
    const { log, lines } = capture('debug')
    log.debug(`session ${id}`)
    log.info('up', { session: id })
    log.warn('closed', { why: `session ${id.toUpperCase()} ended` })
    log.error(id)
    const text = lines.join('')
    expect(text.toLowerCase()).not.toContain(id)
    expect(text).toContain(`${id.slice(0, 8)}…`)
  })

  test('shows no token and no key', async () => {
    const { log, lines } = capture()
    const seed = Identity.generateSeed()
    const identity = await Identity.fromSeed(seed)
    const jwt = await identity.signEnrolment(
      { name: 'a', wg: 'k', seal: 'k', agent: 'a', token: 't' } as Parameters<Identity['signEnrolment']>[0],
      'https://gateway',
      0,
    )
    const key = Buffer.from(seed.expose()).toString('base64')
    log.warn(`refused ${jwt}`, { why: `Bearer ${jwt}`, key: `${key}\n` })
    log.warn('refused', { token: `claw_${'x1'.repeat(16)}`, why: `clawkey_${'x1'.repeat(19)}` })
    expect(lines.join('')).not.toContain(jwt.split('.')[2])
    expect(lines.join('')).not.toContain('x1x1')
    expect(lines.join('')).not.toContain(key)
  })

  test('never throws on odd text', () => {
    const { log, lines } = capture()
    log.info('\ud83d\ude00 1234567-é \ud83d', { short: 'abc' })
    expect(lines).toHaveLength(1)
  })
})
