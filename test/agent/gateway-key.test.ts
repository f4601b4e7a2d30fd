/** Whoever answers must hold the gateway's key, whatever certificate they have. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { JoinToken } from '../../agent/join-token.ts'
import { openJoinedNode } from '../../agent/joined-node.ts'
import { readNodeState } from '../../agent/node-state.ts'
import { CLOSE } from '../../protocol/frames.ts'
import { JOIN_JWT_TYPE } from '../../protocol/http.ts'
import { NodeId } from '../../protocol/ids.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'
import { clawnode } from '../support/clawnode.ts'
import { createSigner, type FakeGateway } from '../support/fake-gateway.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'
import { TestAgent } from './test-agent.ts'

let gateway: FakeGateway
const clock = new ManualClock()
let agent: TestAgent | undefined

beforeEach(async () => {
  gateway = await startGateway()
  gateway.now = () => clock.now()
})

afterEach(async () => {
  agent?.stop()
  agent?.connection.close()
  agent = undefined
  await gateway.close()
})

const joinWith = (token: string, directory: string) =>
  clawnode(['join', '--gateway', gateway.url, '--token-file', '-', '--dir', directory], { input: token })

const sign = async (claims: Record<string, unknown>, typ = JOIN_JWT_TYPE) =>
  new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA', typ }).sign(gateway.signer.privateKey)

describe('a join token', () => {
  test.each<[string, () => Promise<string>]>([
    ['without the gateway’s key', () => sign({})],
    ['with a key that is none', () => sign({ gk: 'short' })],
    ['of another type', () => sign({ gk: gateway.signer.key }, 'other+jwt')],
    ['with another key than it is signed by', async () => sign({ gk: (await createSigner()).key })],
    [
      'signed with something else than a key pair',
      () =>
        new SignJWT({ gk: gateway.signer.key })
          .setProtectedHeader({ alg: 'HS256', typ: JOIN_JWT_TYPE })
          .sign(Buffer.from(gateway.signer.key, 'base64url')),
    ],
    [
      'whose CA was exchanged',
      async () => {
        const [header, , signature] = (await gateway.joinToken()).split('.')
        const claims = { gk: gateway.signer.key, ca: 'another' }
        return [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
      },
    ],
  ])('%s is none', async (_, make) => {
    await expect(JoinToken.parse(await make())).rejects.toMatchObject({ code: 'E_TOKEN_MALFORMED' })
  })

  test('names the only key that may answer the enrolment: an impostor’s answer is not kept', async () => {
    gateway.now = () => Date.now()
    const token = await gateway.joinToken()
    gateway.signer = await createSigner()
    const directory = join(temporaryDirectory(), 'state')
    expect(await joinWith(token, directory)).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('E_GATEWAY_KEY'),
    })
    expect(existsSync(join(directory, 'node.json'))).toBe(false)
  })
})

const nextWait = () => clock.scheduled((ms) => ms !== 10_000)

async function startAgent(): Promise<{ running: TestAgent; directory: string }> {
  const directory = await joinedDirectory(gateway)
  agent = new TestAgent(await openJoinedNode(directory, clock), clock)
  return { running: agent, directory }
}

describe('a session with somebody who lacks the gateway’s key', () => {
  test('is ended before anything is believed, is tried again, and is an alarm', async () => {
    const genuine = gateway.signer
    const { running } = await startAgent()
    gateway.signer = await createSigner()
    const wait = nextWait()
    const session = await gateway.registered()
    session.send({ type: 'mesh', epoch: 'evil', from: 0, to: 1 })
    session.send({ type: 'rotate_identity' })
    session.send({ type: 'revoked' })
    await session.closed
    clock.advance(await wait)
    expect(session.frames.map(({ type }) => type)).toEqual(['register'])
    expect(running.frames).toEqual([])
    expect(running.supervisor.status.problem).toMatchObject({
      code: 'E_GATEWAY_KEY',
      message: "whoever answers does not hold the gateway's key",
    })
    expect(running.lines.find((line) => line.includes('E_GATEWAY_KEY'))).toContain('"level":"error"')

    gateway.signer = genuine
    await gateway.registered()
    await running.up()
  })

  test.each([
    ['another session', { proof: 'A'.repeat(22) }],
    ['another generation', { generation: 7 }],
    ['another protocol version', { protocol: PROTOCOL_VERSION + 1 }],
    ['a longer lease of the map', { leaseMs: 60_000 }],
    ['another time', { time: 1 }],
    ['another node', { node: NodeId.parse('a'.repeat(26)) }],
  ])('is no session if the signature is for %s', async (_, signed) => {
    const { running } = await startAgent()
    const session = await gateway.session()
    const wait = nextWait()
    await gateway.confirm(session, await session.frame('register'), undefined, signed)
    await wait
    expect(running.supervisor.status.problem?.code).toBe('E_GATEWAY_KEY')
  })

  test('cannot make the node believe that it was removed', async () => {
    const { running } = await startAgent()
    const session = await gateway.session()
    await session.frame('register')
    const wait = nextWait()
    session.send({ type: 'revoked' })
    session.close(CLOSE.goingAway)
    expect(await wait).toBeGreaterThan(0)
    expect(running.supervisor.status.session).toBe('offline')
  })
})

describe('what follows `registered` at once', () => {
  test('waits until the signature is checked, in order', async () => {
    const { running } = await startAgent()
    const session = await gateway.session()
    const register = await session.frame('register')
    session.send({ type: 'ack', n: 1 })
    await gateway.confirm(session, register)
    session.send({ type: 'ack', n: 2 })
    session.send({ type: 'ack', n: 3 })
    await running.pushed(2)
    expect(running.frames).toEqual([
      { type: 'ack', n: 2 },
      { type: 'ack', n: 3 },
    ])
  })
})

describe('a new gateway key', () => {
  test('that was announced is learnt, kept on disk, and ends the one before when it follows', async () => {
    const { running, directory } = await startAgent()
    const keys = () => readNodeState(directory).gateway.keys
    const old = gateway.signer
    const next = await createSigner()
    const reconnect = async () => {
      const wait = nextWait()
      session.terminate()
      clock.advance(await wait)
      return gateway.registered()
    }

    let session = await gateway.registered()
    await running.up()
    expect(keys()).toEqual([old.key])
    const before = readFileSync(join(directory, 'node.json'), 'utf8')

    gateway.signer = { ...old, next: next.key }
    session = await reconnect()
    await running.up()
    expect(keys()).toEqual([old.key, next.key])
    expect(readFileSync(join(directory, 'node.json'), 'utf8')).not.toBe(before)

    gateway.signer = next
    session = await reconnect()
    await running.up()
    expect(keys()).toEqual([next.key])

    gateway.signer = old
    const wait = nextWait()
    session = await reconnect()
    await wait
    await session.closed
    expect(running.lines.join('')).toContain('E_GATEWAY_KEY')
    expect(keys()).toEqual([next.key])
  })

  test('that nobody announced is an impostor’s', async () => {
    const { running, directory } = await startAgent()
    const wait = nextWait()
    gateway.signer = await createSigner()
    await gateway.registered()
    await wait
    expect(running.supervisor.status.problem?.code).toBe('E_GATEWAY_KEY')
    expect(readNodeState(directory).gateway.keys).not.toContain(gateway.signer.key)
  })
})
