import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CLOSE } from '../../protocol/frames.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'

let gateway: FakeGateway
let directory: string

beforeEach(async () => {
  gateway = await startGateway()
  directory = await joinedDirectory(gateway)
})

afterEach(() => gateway.close())

const run = (env?: NodeJS.ProcessEnv) =>
  new Clawnode(['run', '--dir', directory, '--no-mesh'], env && { env })
const status = async (at = directory) => {
  const { code, stdout } = await clawnode(['status', '--dir', at, '-o', 'json'])
  return { code, ...JSON.parse(stdout) }
}

const keyIn = (file: string): string => readFileSync(join(directory, file), 'utf8').trim()

describe('clawnode run', () => {
  test('registers, reports, answers for its status, and leaves in peace', async () => {
    const agent = run()
    const session = await gateway.registered()
    expect(await session.frame('register')).toMatchObject({
      protocol: PROTOCOL_VERSION,
      agent: 'clawnode/0.1.0',
      mesh: false,
    })
    const { n } = await session.frame('telemetry')
    session.send({ type: 'ack', n })
    await agent.prints('session up')

    const node = gateway.nodes.get(session.node)
    expect(await status()).toEqual({
      code: 0,
      id: session.node,
      name: 'node-a',
      session: 'connected',
      since: expect.stringMatching(/^20.*Z$/),
      problem: null,
      gateway: gateway.url,
      ipv4: node?.ipv4,
      ipv6: node?.ipv6,
      audit: { entries: null, at: null, problem: null },
      interface: null,
      mesh: null,
      peers: [],
    })
    expect(statSync(join(directory, 'agent.sock')).mode & 0o777).toBe(0o600)
    const table = await clawnode(['status', '--dir', directory])
    expect(table.stdout).toMatch(/^name +node-a\n.*session +connected since/s)

    agent.child.kill('SIGTERM')
    expect(await session.closed).toBe(CLOSE.normal)
    expect(await agent.ended).toEqual({ code: 0, signal: null })
    expect(agent.stdout).toBe('')
    expect(existsSync(join(directory, 'agent.sock'))).toBe(false)
  })

  test('goes on without a gateway, says so, and stops on SIGINT', async () => {
    await gateway.close()
    const agent = run()
    await agent.prints('E_GATEWAY_UNREACHABLE')
    expect(await status()).toMatchObject({
      code: 3,
      session: expect.stringMatching(/offline|connecting/),
      problem: { code: 'E_GATEWAY_UNREACHABLE' },
    })
    agent.child.kill('SIGINT')
    expect(await agent.ended).toEqual({ code: 0, signal: null })
    gateway = await startGateway()
  })

  test('ends with 194 when the node was removed', async () => {
    const agent = run()
    const session = await gateway.registered()
    session.send({ type: 'revoked' })
    expect(await agent.ended).toEqual({ code: 194, signal: null })
  })

  test('runs once on a directory, and again after kill -9', async () => {
    const first = run()
    await gateway.registered()
    const second = await clawnode(['run', '--dir', directory, '--no-mesh'])
    expect(second).toMatchObject({ code: 6, stderr: expect.stringContaining('E_ALREADY_RUNNING') })
    first.child.kill('SIGKILL')
    await first.ended
    expect(existsSync(join(directory, 'agent.sock'))).toBe(true)
    expect(await status()).toMatchObject({ code: 3, session: 'stopped' })
    run()
    const { node } = await gateway.registered()
    expect(gateway.nodes.has(node)).toBe(true)
    expect(gateway.nodes.size).toBe(1)
  })

  test('logs JSON lines without a word of any key, token or proof', async () => {
    const firstIdentity = keyIn('identity.key')
    const agent = run({ CLAWNODE_LOG: 'debug' })
    const session = await gateway.registered()
    const { channel } = await session.frame('register')
    await session.frame('telemetry')
    session.send('{"type":"mesh","private_key":"canary-frame"}')
    session.send({ type: 'novelty-canary' })
    session.send({
      type: 'error',
      code: 'E_INTERNAL',
      message: `session 0123abcd-0000-4000-8000-0123456789ab`,
    })
    await agent.prints('the gateway objects')
    session.send({ type: 'rotate_identity' })
    await agent.prints('new identity key')
    session.close(CLOSE.leaseExpired)
    await agent.prints('E_INTERNAL')
    agent.child.kill('SIGTERM')
    await agent.ended
    const log = agent.stderrLines.join('\n')
    for (const line of agent.stderrLines) expect(JSON.parse(line)).toHaveProperty('level')
    const secrets = [firstIdentity, ...['identity.key', 'wireguard.key', 'sealing.key'].map(keyIn)]
    const forms = secrets.flatMap((key) =>
      (['base64', 'base64url', 'hex'] as const).map((form) => Buffer.from(key, 'base64').toString(form)),
    )
    for (const text of [...forms, channel, session.proof, 'canary', 'eyJ']) expect(log).not.toContain(text)
    // A session is told by the beginning of its id, which masks itself (L-2).
    expect(log).toContain(`"session":"${session.proof.slice(0, 8)}…"`)
    expect(log).toContain('0123abcd…')
    expect(log).not.toContain('0123456789ab')
  })
})

describe('clawnode run refuses', () => {
  test.each<[string, string, () => void]>([
    ['a directory that was never joined', 'E_NOT_JOINED', () => (directory = temporaryDirectory())],
    [
      'a key that others can read',
      'E_FILE_PERMISSIONS',
      () => chmodSync(join(directory, 'identity.key'), 0o644),
    ],
    [
      'a state that others can read',
      'E_FILE_PERMISSIONS',
      () => chmodSync(join(directory, 'node.json'), 0o644),
    ],
    [
      'keys of another node',
      'E_STATE_INVALID',
      () => writeFileSync(join(directory, 'identity.key'), `${Buffer.alloc(32, 9).toString('base64')}\n`),
    ],
  ])('%s', async (_, code, spoil) => {
    spoil()
    const output = await clawnode(['run', '--dir', directory, '--no-mesh'])
    expect(output).toMatchObject({ code: 78, stdout: '', stderr: expect.stringContaining(code) })
    expect(gateway.requests).toEqual(['POST /v1/enrol'])
  })

  test.each([
    ['--listen-port', '0'],
    ['--listen-port', '65536'],
    ['--interface', 'claw0;reboot'],
    ['--interface', 'a-name-that-is-too-long'],
  ])('%s %s', async (flag, value) => {
    expect(await clawnode(['run', '--dir', directory, flag, value])).toMatchObject({ code: 78 })
  })

  test('a directory whose path is too long for a socket', async () => {
    const long = join(directory, 'd'.repeat(100))
    expect(await clawnode(['status', '--dir', long])).toMatchObject({ code: 78 })
  })
})

describe('clawnode status', () => {
  test('without an agent is read from disk', async () => {
    expect(await status()).toMatchObject({ code: 3, session: 'stopped', since: null, name: 'node-a' })
  })

  test('of something else on the socket is an error, not a guess', async () => {
    const other = createServer((socket) => socket.end('hello\n')).listen(join(directory, 'agent.sock'))
    const output = await clawnode(['status', '--dir', directory])
    other.close()
    expect(output).toMatchObject({ code: 3, stdout: '', stderr: expect.stringContaining('E_AGENT_SILENT') })
  })
})

test('clawnode version', async () => {
  for (const args of [['version'], ['--version']]) {
    expect(await clawnode(args)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('clawnode/0.1.0 protocol/4'),
    })
  }
})
