/**
 * Somebody with a certificate that the node trusts, who answers in the gateway's place or changes what it answers. They can keep the node
 * from its gateway for as long as they are there; they decide nothing over it.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { decodeJwt } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { GatewayKeys } from '../../agent/gateway-keys.ts'
import { rotateIdentity } from '../../agent/identity-rotation.ts'
import { type JoinedNode, openJoinedNode } from '../../agent/joined-node.ts'
import { readNodeState } from '../../agent/node-state.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { sealDelivery } from '../../crypto/delivery.ts'
import { signAsGateway } from '../../crypto/gateway-proof.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { CLOSE } from '../../protocol/frames.ts'
import { type GatewayKey, SecretName } from '../../protocol/ids.ts'
import { type FakeAnswer, jsonAnswer, problemAnswer, signAnswer, unsigned } from '../support/fake-answers.ts'
import { createSigner, type FakeGateway } from '../support/fake-gateway.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { FORGERIES, type Forge } from './forgeries.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'
import { TestAgent } from './test-agent.ts'

const HOUR = 60 * 60_000
const NAME = SecretName.parse('db.password')

let gateway: FakeGateway
let clock: ManualClock
let node: JoinedNode
let directory: string
let agent: TestAgent | undefined

beforeEach(async () => {
  gateway = await startGateway()
  clock = new ManualClock()
  gateway.now = () => clock.now()
  gateway.secrets.set(NAME, { value: utf8('genuine'), allowed: true })
  directory = await joinedDirectory(gateway)
  node = await openJoinedNode(directory, clock)
})

afterEach(async () => {
  agent?.stop()
  agent = undefined
  node.connection.close()
  await gateway.close()
})

const nextWait = () => clock.scheduled((ms) => ms !== 10_000)

/** How long the agent waits before it tries again; or that it does not. */
const waitOf = (running: TestAgent, wait: Promise<number>) => Promise.race([wait, running.outcome])

/** From now on whoever is in between answers this. */
function inPlace(forge: Forge, wanted: FakeAnswer | ((authorization: string) => Promise<FakeAnswer>)): void {
  gateway.onTheWay = async (genuine, authorization) => {
    const { signer } = gateway
    const chosen = typeof wanted === 'function' ? await wanted(authorization) : wanted
    return forge({ wanted: chosen, genuine, authorization, signer })
  }
}

/** Whoever was in between is gone. */
function freeTheWay(): void {
  gateway.onTheWay = (answer) => answer
}

describe.each(FORGERIES)('a refusal %s', (_, code, forge) => {
  test.each<ErrorCode>(['E_NODE_REMOVED', 'E_NODE_QUARANTINED'])(
    'that says %s in place of a session decides nothing',
    async (claim) => {
      gateway.refusal = { code: 'E_UNAVAILABLE' }
      inPlace(forge, problemAnswer(claim, clock.now()))
      const wait = nextWait()
      agent = new TestAgent(node, clock)
      expect(await waitOf(agent, wait)).toBe(1_000)
      expect(agent.supervisor.status).toMatchObject({ session: 'offline', problem: { code } })
      expect(agent.quarantines).toBe(0)

      gateway.refusal = undefined
      freeTheWay()
      clock.advance(1_000)
      await gateway.registered()
      await agent.up()
    },
  )

  test('does not move the clock of a session', async () => {
    gateway.refusal = { code: 'E_PROOF_EXPIRED' }
    inPlace(forge, problemAnswer('E_PROOF_EXPIRED', clock.now() + 5 * 60_000))
    const wait = nextWait()
    agent = new TestAgent(node, clock)
    await wait
    expect(node.gatewayClock.now()).toBe(clock.now())
    expect(gateway.requests.filter((request) => request === 'GET /v1/session')).toHaveLength(1)
  })

  test('does not move the clock of a request, and is sent once', async () => {
    inPlace(forge, problemAnswer('E_PROOF_EXPIRED', clock.now() + 5 * 60_000))
    await expect(node.client.fetchSecrets([{ name: NAME }])).rejects.toMatchObject({ code })
    expect(node.gatewayClock.now()).toBe(clock.now())
    expect(gateway.requests.filter((request) => request === 'POST /v1/node/secrets')).toHaveLength(1)
  })

  test.each<ErrorCode>(['E_SECRET_DENIED', 'E_SECRET_NOT_FOUND', 'E_NODE_REMOVED'])(
    'that says %s in place of secrets is not the gateway’s word',
    async (claim) => {
      inPlace(forge, problemAnswer(claim, clock.now()))
      await expect(node.client.fetchSecrets([{ name: NAME }])).rejects.toMatchObject({ code })
    },
  )

  test('does not make the node throw its next key away', async () => {
    inPlace(forge, problemAnswer('E_ROTATION_NOT_ASKED', clock.now()))
    await expect(rotateIdentity(node)).rejects.toMatchObject({ code })
    expect(existsSync(join(directory, 'identity.next.key'))).toBe(true)
    freeTheWay()
    await rotateIdentity(node)
    expect(readNodeState(directory).identity).toBe(gateway.identities.get(node.state.node.id))
  })

  test('of a rotation that is to be finished does not end the agent', async () => {
    inPlace(forge, problemAnswer('E_NODE_REMOVED', clock.now()))
    await rotateIdentity(node).catch(() => {})
    const wait = nextWait()
    agent = new TestAgent(node, clock)
    expect(await waitOf(agent, wait)).toBe(1_000)
    expect(agent.supervisor.status).toMatchObject({ session: 'offline', problem: { code } })
  })
})

/** A reply that holds the attacker's value, sealed to this node and this request: HPKE's base mode lets anybody do that. */
async function swappedReply(authorization: string): Promise<FakeAnswer> {
  const { fleet } = node.state.node
  const request = String(decodeJwt(authorization.slice('Claw '.length)).jti)
  const binding = { fleet, name: NAME, version: 1, request }
  const value = SecretBytes.take(utf8('swapped'))
  const sealed = await sealDelivery(node.keys.sealing.publicKey, value, binding)
  return jsonAnswer(200, { fleet, items: [{ name: NAME, version: 1, class: 'managed', sealed }] })
}

describe('a reply', () => {
  test('that is the gateway’s is opened', async () => {
    const secrets = await node.client.fetchSecrets([{ name: NAME }])
    expect(secrets.get(NAME)?.value.expose()).toEqual(utf8('genuine'))
  })

  test('that would be opened if nobody asked who wrote it', async () => {
    inPlace(({ wanted, authorization, signer }) => signAnswer(wanted, authorization, signer), swappedReply)
    const secrets = await node.client.fetchSecrets([{ name: NAME }])
    expect(secrets.get(NAME)?.value.expose()).toEqual(utf8('swapped'))
  })

  test.each(FORGERIES)('%s is not taken for the gateway’s', async (_, _code, forge) => {
    inPlace(forge, swappedReply)
    await expect(node.client.fetchSecrets([{ name: NAME }])).rejects.toMatchObject({ code: 'E_GATEWAY_KEY' })
  })

  test('that was the gateway’s to an earlier request is refused when it comes again', async () => {
    const heard: FakeAnswer[] = []
    gateway.onTheWay = (answer) => {
      heard.push(answer)
      return heard[0] ?? answer
    }
    await node.client.fetchSecrets([{ name: NAME }])
    await expect(node.client.fetchSecrets([{ name: NAME }])).rejects.toMatchObject({ code: 'E_GATEWAY_KEY' })
  })

  test('to a rotation, unsigned, leaves the old key in force', async () => {
    const before = node.keys.identity.publicKey
    gateway.onTheWay = unsigned
    await expect(rotateIdentity(node)).rejects.toMatchObject({ code: 'E_GATEWAY_KEY' })
    expect(node.keys.identity.publicKey).toBe(before)
  })
})

describe('before `registered`', () => {
  const CLAIMS: readonly [ErrorCode, number][] = [
    ['E_NODE_REMOVED', CLOSE.removed],
    ['E_NODE_QUARANTINED', CLOSE.quarantined],
    ['E_SESSION_SUPERSEDED', CLOSE.superseded],
    ['E_REGISTER_TIMEOUT', CLOSE.registerTimeout],
  ]

  test.each(CLAIMS)('%s and its close code are no verdict, and no hot loop', async (code, close) => {
    agent = new TestAgent(node, clock)
    for (const expected of [1_000, 2_000, 4_000]) {
      const session = await gateway.session()
      await session.frame('register')
      const wait = nextWait()
      session.send({ type: 'revoked' })
      session.send({ type: 'error', code, message: 'run this command' })
      session.close(close)
      expect(await waitOf(agent, wait)).toBe(expected)
      expect(agent.supervisor.status.session).toBe('offline')
      clock.advance(expected)
    }
    expect(agent.quarantines).toBe(0)
    expect(agent.lines.join('')).not.toMatch(/run this command|E_NODE_REMOVED|E_NODE_QUARANTINED/)
    await gateway.registered()
    await agent.up()
  })

  test.each<[ErrorCode, number]>([
    ['E_NODE_REMOVED', CLOSE.removed],
    ['E_NODE_QUARANTINED', CLOSE.quarantined],
  ])('a true %s follows from the next upgrade', async (code, close) => {
    agent = new TestAgent(node, clock)
    const session = await gateway.session()
    await session.frame('register')
    gateway.refusal = { code }
    let wait = nextWait()
    session.close(close)
    clock.advance(await wait)
    if (code === 'E_NODE_REMOVED') expect(await agent.outcome).toBe('removed')
    else {
      wait = nextWait()
      await wait
      expect(agent.supervisor.status.session).toBe('quarantined')
      expect(agent.quarantines).toBe(1)
    }
  })
})

test('an edge’s page is no verdict, and its Retry-After counts for a minute at most', async () => {
  gateway.refusal = { code: 'E_UNAVAILABLE' }
  gateway.onTheWay = () => ({
    status: 502,
    headers: { 'retry-after': String(HOUR) },
    body: '<html>no</html>',
  })
  const wait = nextWait()
  agent = new TestAgent(node, clock)
  expect(await wait).toBe(61_000)
  expect(agent.supervisor.status).toMatchObject({ problem: { code: 'E_GATEWAY_UNREACHABLE' } })
  expect(agent.lines.join('')).not.toContain('<html>')
})

test('a refusal whose end does not come is given up', async () => {
  gateway.refusal = { code: 'E_UNAVAILABLE' }
  gateway.onTheWay = (answer) => ({ ...answer, headers: { ...answer.headers, 'content-length': '60000' } })
  const deadline = clock.scheduled((ms) => ms === 10_000)
  const wait = nextWait()
  agent = new TestAgent(node, clock)
  clock.advance(await deadline)
  expect(await wait).toBe(1_000)
  expect(agent.supervisor.status).toMatchObject({ session: 'offline' })
})

test('an answer announces the next key, which is kept and ends the one before', async () => {
  const keys = () => readNodeState(directory).gateway.keys
  const old = gateway.signer
  const next = await createSigner()
  gateway.signer = { ...old, next: next.key }
  await node.client.fetchSecrets([{ name: NAME }])
  expect(keys()).toEqual([old.key, next.key])
  gateway.signer = next
  await node.client.fetchSecrets([{ name: NAME }])
  expect(keys()).toEqual([next.key])
  gateway.signer = old
  await expect(node.client.fetchSecrets([{ name: NAME }])).rejects.toMatchObject({ code: 'E_GATEWAY_KEY' })
  expect(keys()).toEqual([next.key])
})

test('of two answers that cross, the older one does not bring the old key back', async () => {
  const old = gateway.signer
  const next = await createSigner()
  let kept: readonly GatewayKey[] = [old.key, next.key]
  const keys = new GatewayKeys(kept, (accepted) => {
    kept = accepted
  })
  const transcript = utf8('what was signed')
  const answers = [
    await signAsGateway({ ...old, next: next.key }, transcript),
    await signAsGateway(next, transcript),
  ]
  // The older one has two signatures to be checked, and is behind.
  await Promise.all(answers.map((answer) => keys.verify(answer, transcript)))
  expect(kept).toEqual([next.key])
  expect(await keys.verify(answers[0] ?? expect.unreachable(), transcript)).toBe(false)
})
