/** A job that starts while the gateway is away, by what its node has kept; and everything that must not start by that. */
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { utf8 } from '../../crypto/bytes.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { CLOSE } from '../../protocol/frames.ts'
import { SecretName } from '../../protocol/ids.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'

let gateway: FakeGateway
let directory: string
let isOpen: boolean

beforeEach(async () => {
  gateway = await startGateway()
  isOpen = true
  gateway.secrets.set('password', { value: utf8('hunter2'), allowed: true, version: 4 })
  gateway.secrets.set('other', { value: utf8('second'), allowed: true })
  directory = await joinedDirectory(gateway)
})

afterEach(() => leave())

async function leave(): Promise<void> {
  if (isOpen) await gateway.close()
  isOpen = false
}

const SHOW = ['--', 'sh', '-c', 'printf "%s|%s" "$P" "$O"']
const exec = (...args: string[]) =>
  clawnode(['exec', '--dir', directory, '--timeout', '0', '--secret', 'P=password', ...args])
const both = (...args: string[]) => exec('--secret', 'O=other', ...args, ...SHOW)
const kept = () => {
  const path = join(directory, 'secrets-cache')
  return existsSync(path) ? readdirSync(path).filter((file) => file !== 'newest.json') : []
}
const names = () =>
  kept()
    .map((file) => JSON.parse(readFileSync(join(directory, 'secrets-cache', file), 'utf8')).name)
    .sort()

const away = { code: 125, stdout: '', stderr: expect.stringContaining('E_GATEWAY_UNREACHABLE') }

describe('while the gateway is away', () => {
  test('a job starts by what was kept, and the log says so', async () => {
    expect(await both()).toMatchObject({ code: 0, stdout: 'hunter2|second', stderr: '' })
    await leave()
    const output = await both()
    expect(output).toMatchObject({ code: 0, stdout: 'hunter2|second' })
    expect(JSON.parse(output.stderr)).toEqual({
      time: expect.any(String),
      level: 'warn',
      message: 'the gateway is away: using the secrets that are kept on this node',
      code: 'E_GATEWAY_UNREACHABLE',
      secrets: 'password (version 4), other (version 1)',
      fetched: expect.stringMatching(/^20.*Z$/),
    })
  })

  test('also where a proxy answers in its place, or a part of it is away', async () => {
    await both()
    gateway.secretsRefusal = 'E_UNAVAILABLE'
    expect(await both()).toMatchObject({ code: 0, stdout: 'hunter2|second' })
    gateway.onTheWay = () => ({ status: 502, headers: {}, body: 'bad gateway' })
    expect(await both()).toMatchObject({ code: 0, stdout: 'hunter2|second' })
  })

  test('it does not start by a part of its secrets', async () => {
    await exec(...SHOW)
    await leave()
    const output = await both()
    expect(output).toMatchObject(away)
    expect(output.stderr).toContain('other: not kept on this node')
  })

  test('it does not start by what was kept for another workload', async () => {
    await both('--workload', 'trainer')
    await leave()
    expect(await both()).toMatchObject(away)
    expect(await both('--workload', 'trainer')).toMatchObject({ code: 0 })
  })

  test('it does not start by what was kept for too long', async () => {
    await both()
    await leave()
    const env = { CLAWNODE_SECRETS_CACHE_MAX_AGE: '1s' }
    const until = Date.now() + 1_100
    await new Promise((resolve) => setTimeout(resolve, until - Date.now()))
    const output = await clawnode(
      ['exec', '--dir', directory, '--timeout', '0', '--secret', 'P=password', ...SHOW],
      { env },
    )
    expect(output).toMatchObject(away)
    expect(output.stderr).toContain('kept for too long')
  })

  test('it does not start by what somebody has changed, or brought from another node', async () => {
    await exec(...SHOW)
    const [file = ''] = kept()
    const path = join(directory, 'secrets-cache', file)
    const entry = JSON.parse(readFileSync(path, 'utf8'))
    const elsewhere = await joinedDirectory(gateway)
    cpSync(join(directory, 'secrets-cache'), join(elsewhere, 'secrets-cache'), { recursive: true })
    chmodSync(join(elsewhere, 'secrets-cache'), 0o700)
    await leave()
    writeFileSync(path, JSON.stringify({ ...entry, version: 5 }))
    for (const place of [directory, elsewhere]) {
      const args = ['exec', '--dir', place, '--timeout', '0', '--secret', 'P=password', ...SHOW]
      const output = await clawnode(args)
      expect(output).toMatchObject(away)
      expect(output.stderr).toContain('does not open with the key of this node')
    }
  })

  test('it waits for the gateway if there is nothing, and starts when it is back', async () => {
    gateway.secretsRefusal = 'E_UNAVAILABLE'
    const job = new Clawnode(['exec', '--dir', directory, '--secret', 'P=password', ...SHOW])
    await job.prints('waiting for the secrets')
    gateway.secretsRefusal = undefined
    expect(await job.ended).toEqual({ code: 0, signal: null })
    expect(job.stdout).toBe('hunter2|')
  })
})

describe('a gateway that answers is believed, not what was kept', () => {
  test.each<[ErrorCode, string[]]>([
    ['E_SECRET_DENIED', ['other']],
    ['E_SECRET_TAG', ['other']],
    ['E_SECRET_WORKLOAD', ['other']],
    ['E_SECRET_DENY_RULE', ['other']],
    ['E_SECRET_POLICY_EXPIRED', ['other']],
    ['E_SECRET_DELETED', ['other']],
    ['E_SECRET_DESTROYED', ['other']],
    ['E_SECRET_NOT_FOUND', ['other']],
    // Nobody has been denied anything.
    ['E_SECRET_CORRUPT', ['other', 'password']],
    ['E_INTERNAL', ['other', 'password']],
    ['E_RATE_LIMITED', ['other', 'password']],
  ])('%s, and of what was kept there is left: %j', async (code, left) => {
    await both()
    gateway.secrets.set('password', { value: utf8(''), allowed: true, refusal: code })
    expect(await both()).toMatchObject({ code: 125, stdout: '', stderr: expect.stringContaining(code) })
    expect(names()).toEqual(left)
    await leave()
    expect((await both()).code).toBe(left.length === 2 ? 0 : 125)
  })

  test.each<ErrorCode>(['E_NODE_REMOVED', 'E_NODE_QUARANTINED'])('%s takes all of it away', async (code) => {
    await both()
    gateway.secretsRefusal = code
    expect(await both()).toMatchObject({ code: 125, stderr: expect.stringContaining(code) })
    expect(existsSync(join(directory, 'secrets-cache'))).toBe(false)
  })

  test('an answer that is not the gateway’s starts nothing and takes nothing away', async () => {
    await both()
    gateway.onTheWay = (answer) => ({ ...answer, body: answer.body.replace('password', 'passwort') })
    expect(await both()).toMatchObject({ code: 125, stderr: expect.stringContaining('E_GATEWAY_KEY') })
    expect(names()).toEqual(['other', 'password'])
  })
})

describe('the running agent', () => {
  async function startAgent() {
    const agent = new Clawnode(['run', '--dir', directory, '--no-mesh'])
    const session = await gateway.registered()
    await agent.prints('session up')
    return { agent, session }
  }

  test('takes away what has changed', async () => {
    await both()
    const { session } = await startAgent()
    // Of a job that listens one learns that the agent has heard.
    const job = new Clawnode(['exec', '--dir', directory, '--no-cache', '--secret', 'P=password', ...WAIT])
    await job.prints('has hunter2')
    gateway.secrets.set('password', { value: utf8('changed'), allowed: true, version: 5 })
    session.send({ type: 'secret_changed', name: SecretName.parse('password'), version: 5 })
    await job.prints('has changed')
    expect(names()).toEqual(['other'])
  })

  test('takes all of it away when the node is removed, or held', async () => {
    await both()
    const { agent, session } = await startAgent()
    session.close(CLOSE.quarantined)
    await agent.prints('quarantine')
    expect(kept()).toEqual([])
    agent.child.kill('SIGTERM')
    await agent.ended
    await both()
    expect(kept()).toHaveLength(2)
    const removed = await startAgent()
    removed.session.send({ type: 'revoked' })
    expect(await removed.agent.ended).toEqual({ code: 194, signal: null })
    expect(kept()).toEqual([])
  })
})

const WAIT = ['--', process.execPath, '-e', "console.log('has', process.env.P); setTimeout(() => {}, 60_000)"]

describe('whoever refuses it', () => {
  test('--no-cache neither keeps nor uses', async () => {
    await both('--no-cache')
    expect(kept()).toEqual([])
    await both()
    await leave()
    expect(await both('--no-cache')).toMatchObject(away)
    expect(names()).toEqual(['other', 'password'])
  })

  test('secrets_cache = false has none on the node', async () => {
    await both()
    const env = { CLAWNODE_SECRETS_CACHE: 'false' }
    const args = ['exec', '--dir', directory, '--secret', 'P=password', ...SHOW]
    expect(await clawnode(args, { env })).toMatchObject({ code: 0, stdout: 'hunter2|' })
    expect(existsSync(join(directory, 'secrets-cache'))).toBe(false)
  })
})
