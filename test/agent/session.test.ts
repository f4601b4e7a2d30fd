import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openJoinedNode } from '../../agent/joined-node.ts'
import { SUPERSEDED_WAIT_MS } from '../../agent/session/backoff.ts'
import { CLOSE } from '../../protocol/frames.ts'
import { RECONNECT_STABLE_MS } from '../../protocol/limits.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'
import { TestAgent } from './test-agent.ts'

const HEARTBEAT_MS = 15_000
const MINUTE = 60_000

let gateway: FakeGateway
let clock: ManualClock
let agent: TestAgent

/** An agent that has enrolled and begins to dial. */
async function startAgent(): Promise<TestAgent> {
  return new TestAgent(await openJoinedNode(await joinedDirectory(gateway), clock), clock)
}

beforeEach(async () => {
  gateway = await startGateway()
  clock = new ManualClock()
  gateway.now = () => clock.now() - clock.skewMs
})

afterEach(async () => {
  agent?.stop()
  agent?.connection.close()
  await gateway.close()
})

/** The agent's next wait before it dials again. */
const nextWait = () => clock.scheduled((ms) => ms !== 10_000)

describe('a session', () => {
  test('registers, pings, is pushed to, and says goodbye', async () => {
    agent = await startAgent()
    const session = await gateway.registered(HEARTBEAT_MS)
    await agent.up()
    expect(session.frames[0]).toEqual({
      type: 'register',
      protocol: PROTOCOL_VERSION,
      agent: 'clawnode/test',
      mesh: false,
      generation: 1,
      channel: expect.stringMatching(/^eyJ/),
    })
    expect(agent.supervisor.status).toEqual({ session: 'connected', since: clock.now() })

    clock.advance(HEARTBEAT_MS)
    await session.until(() => session.pings === 1)
    session.send({ type: 'ack', n: 7 })
    session.send({ type: 'something_new', with: 'fields' } as { type: string })
    session.send('no json')
    session.send({ type: 'ack', n: -1 })
    session.send({ type: 'ack', n: 8 })
    await agent.pushed(2)
    expect(agent.supervisor.send({ type: 'mesh_resync' })).toBe(true)
    await session.frame('mesh_resync')

    agent.stop()
    expect(await session.closed).toBe(CLOSE.normal)
    expect(await agent.outcome).toBe('stopped')
    expect(agent.frames).toEqual([
      { type: 'ack', n: 7 },
      { type: 'ack', n: 8 },
    ])
    expect(agent.supervisor.status.session).toBe('stopped')
    expect(agent.supervisor.send({ type: 'mesh_resync' })).toBe(false)
    expect(agent.lost).toBe(1)
  })

  test('whose pings go unanswered three times is dropped, and a new one begins (X14)', async () => {
    agent = await startAgent()
    const session = await gateway.registered(HEARTBEAT_MS)
    await agent.up()
    session.answersPings = false
    const wait = nextWait()
    for (let beat = 1; beat <= 3; beat++) {
      clock.advance(beat === 1 ? HEARTBEAT_MS / 2 : HEARTBEAT_MS)
      await session.until(() => session.pings === beat)
    }
    clock.advance(HEARTBEAT_MS)
    await session.closed
    clock.advance(await wait)
    await gateway.registered()
    expect(agent.lines.join('')).toContain('E_SESSION_SILENT')
  })

  test('that the gateway never confirms is dropped', async () => {
    agent = await startAgent()
    const deadline = clock.scheduled((ms) => ms === 10_000)
    const session = await gateway.session()
    await session.frame('register')
    const wait = nextWait()
    clock.advance(await deadline)
    expect(await wait).toBeGreaterThan(0)
  })
})

describe('after a loss', () => {
  test('the wait is spread, grows while the gateway refuses, and shrinks only after two stable minutes', async () => {
    agent = await startAgent()
    let session = await gateway.registered()
    await agent.up()
    clock.advance(RECONNECT_STABLE_MS)
    let wait = nextWait()
    session.terminate()
    expect(await wait).toBe(7_500)

    gateway.refusal = { code: 'E_UNAVAILABLE' }
    const waits = []
    for (let attempt = 0; attempt < 6; attempt++) {
      clock.advance(await wait)
      wait = nextWait()
      waits.push(await wait)
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000])
    expect(agent.supervisor.status).toMatchObject({ session: 'offline', problem: { code: 'E_UNAVAILABLE' } })

    gateway.refusal = undefined
    clock.advance(30_000)
    session = await gateway.registered()
    await agent.up()
    wait = nextWait()
    session.terminate()
    expect(await wait).toBe(30_000)
  })

  test.each([
    ['45', 46_000],
    ['31536000', 61_000],
  ])('Retry-After: %s is a lower bound, up to a minute', async (seconds, expected) => {
    gateway.refusal = { code: 'E_UNAVAILABLE', headers: { 'retry-after': seconds } }
    const wait = nextWait()
    agent = await startAgent()
    expect(await wait).toBe(expected)
  })

  test('a gateway that is away makes one log line a minute', async () => {
    agent = await startAgent()
    const session = await gateway.registered()
    await agent.up()
    gateway.refusal = { code: 'E_UNAVAILABLE' }
    let wait = nextWait()
    session.terminate()
    const before = clock.elapsed()
    while (clock.elapsed() - before < 20 * MINUTE) {
      clock.advance(await wait)
      wait = nextWait()
      await wait
    }
    const warnings = agent.lines.filter((line) => line.includes('E_UNAVAILABLE'))
    expect(warnings.length).toBeLessThanOrEqual(21)
    expect(warnings.length).toBeGreaterThanOrEqual(10)
  })

  test('of the gateway’s own making, its reason is kept', async () => {
    agent = await startAgent()
    const session = await gateway.session()
    await session.frame('register')
    const wait = nextWait()
    session.send({ type: 'error', code: 'E_PROTOCOL_VERSION', message: 'run this command' })
    session.close(CLOSE.violations)
    await wait
    expect(agent.supervisor.status.problem).toEqual({
      code: 'E_PROTOCOL_VERSION',
      message: 'This protocol version is not supported; update the agent.',
    })
  })
})

describe('an end that is not a loss', () => {
  test('another session of the same identity makes the agent wait long and warn', async () => {
    agent = await startAgent()
    const session = await gateway.registered()
    await agent.up()
    const wait = nextWait()
    session.send({ type: 'error', code: 'E_SESSION_SUPERSEDED', message: 'a newer session' })
    session.close(CLOSE.superseded)
    expect(await wait).toBe(1.5 * SUPERSEDED_WAIT_MS)
    expect(agent.lines.join('')).toContain('cloned machine')
  })

  test.each(['frame', 'close code', 'upgrade'])('a node that was removed stops, told by %s', async (how) => {
    agent = await startAgent()
    const session = await gateway.registered()
    await agent.up()
    if (how === 'frame') session.send({ type: 'revoked' })
    if (how === 'close code') session.close(CLOSE.removed)
    if (how === 'upgrade') {
      gateway.refusal = { code: 'E_NODE_REMOVED' }
      const wait = nextWait()
      session.terminate()
      clock.advance(await wait)
    }
    expect(await agent.outcome).toBe('removed')
    expect(agent.supervisor.status.session).toBe('stopped')
  })

  test('a stop while it waits is a stop at once', async () => {
    gateway.refusal = { code: 'E_UNAVAILABLE' }
    const wait = nextWait()
    agent = await startAgent()
    await wait
    agent.stop()
    expect(await agent.outcome).toBe('stopped')
    expect(clock.pending).toBe(0)
  })
})

describe('a node in quarantine', () => {
  test.each(['close code', 'upgrade'])(
    'is told so by %s, asks slowly, and says how it gets out',
    async (how) => {
      agent = await startAgent()
      const session = await gateway.registered()
      await agent.up()
      let wait = nextWait()
      if (how === 'close code') {
        session.send({ type: 'error', code: 'E_NODE_QUARANTINED', message: 'held' })
        session.close(CLOSE.quarantined)
      } else {
        gateway.refusal = { code: 'E_NODE_QUARANTINED' }
        session.terminate()
        clock.advance(await wait)
        wait = nextWait()
      }
      expect(await wait).toBe(1.5 * 5 * MINUTE)
      expect(agent.quarantines).toBe(1)
      expect(agent.supervisor.status).toMatchObject({
        session: 'quarantined',
        problem: { code: 'E_NODE_QUARANTINED', fix: expect.stringContaining('claw node release node-a') },
      })
      expect(agent.lines.some((line) => line.includes('"level":"error"'))).toBe(true)

      // Away or not: until it is let in it is held.
      gateway.refusal = { code: 'E_UNAVAILABLE' }
      clock.advance(8 * MINUTE)
      await nextWait()
      expect(agent.supervisor.status).toMatchObject({ session: 'quarantined' })

      gateway.refusal = undefined
      clock.advance(MINUTE)
      await gateway.registered()
      await agent.up()
      expect(agent.supervisor.status).toEqual({ session: 'connected', since: clock.now() })
    },
  )
})

describe('generations', () => {
  test('rise with each session, and are on disk before it begins', async () => {
    const directory = await joinedDirectory(gateway)
    agent = new TestAgent(await openJoinedNode(directory, clock), clock)
    for (const generation of [1, 2, 3]) {
      const session = await gateway.session()
      const register = await session.frame('register')
      expect(register.generation).toBe(generation)
      expect(readFileSync(join(directory, 'generation'), 'utf8')).toBe(`${generation}\n`)
      await gateway.confirm(session, register)
      await agent.up()
      const wait = nextWait()
      session.terminate()
      clock.advance(await wait)
    }
    expect(statSync(join(directory, 'generation')).mode & 0o777).toBe(0o600)
  })

  test.each(['', '0', '-1', '1e3', 'x'])('%j is no number of sessions: none begins', async (content) => {
    const directory = await joinedDirectory(gateway)
    writeFileSync(join(directory, 'generation'), content, { mode: 0o600 })
    const wait = nextWait()
    agent = new TestAgent(await openJoinedNode(directory, clock), clock)
    await wait
    expect(agent.supervisor.status.problem?.code).toBe('E_STATE_INVALID')
    expect((await gateway.session()).frames).toEqual([])
  })
})

describe('a clock that is off', () => {
  test.each([-5, 5])('by %i minutes is corrected without a wait', async (minutes) => {
    clock.skewMs = minutes * MINUTE
    agent = await startAgent()
    await gateway.registered()
    await agent.up()
    expect(gateway.requests.filter((request) => request === 'GET /v1/session')).toHaveLength(2)
  })

  test.each([-20, 20])('by %i minutes is reported, with the gateway’s time', async (minutes) => {
    clock.skewMs = minutes * MINUTE
    const wait = nextWait()
    agent = await startAgent()
    await wait
    const { problem } = agent.supervisor.status
    expect(problem?.code).toBe('E_CLOCK_SKEW')
    expect(problem?.message).toContain(new Date(gateway.now()).toISOString())
    expect(problem?.message).toContain(minutes < 0 ? 'behind' : 'ahead')
  })
})
