/** A new identity key: at every moment one of the keys on disk is the one the gateway knows. */
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../agent/clock.ts'
import { finishRotation, rotateIdentity } from '../../agent/identity-rotation.ts'
import { type JoinedNode, openJoinedNode } from '../../agent/joined-node.ts'
import { keepNextIdentity, promoteNextIdentity } from '../../agent/node-keys.ts'
import { readNodeState, updateNodeState } from '../../agent/node-state.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { SecretName } from '../../protocol/ids.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'

let gateway: FakeGateway
let directory: string
const opened: JoinedNode[] = []

beforeEach(async () => {
  gateway = await startGateway()
  gateway.secrets.set('s', { value: utf8('value'), allowed: true })
  directory = await joinedDirectory(gateway)
})

afterEach(async () => {
  for (const { connection } of opened.splice(0)) connection.close()
  await gateway.close()
})

async function open(): Promise<JoinedNode> {
  const node = await openJoinedNode(directory, systemClock)
  opened.push(node)
  return node
}

const inForce = () => gateway.identities.get(readNodeState(directory).node.id)
const pending = () => existsSync(join(directory, 'identity.next.key'))
const rotations = () => gateway.requests.filter((request) => request === 'POST /v1/node/identity').length

/** Whether the node on disk is the one the gateway knows. */
async function expectWhole(): Promise<void> {
  const { keys, state, client } = await open()
  expect(keys.identity.publicKey).toBe(inForce())
  expect(state.identity).toBe(inForce())
  expect(pending()).toBe(false)
  expect((await client.fetchSecrets([{ name: SecretName.parse('s') }])).size).toBe(1)
}

describe('a rotation', () => {
  test('replaces the key, and the node stays who it is', async () => {
    const node = await open()
    const before = { key: node.keys.identity.publicKey, file: readFileSync(join(directory, 'identity.key')) }
    await rotateIdentity(node)
    expect(inForce()).not.toBe(before.key)
    expect(node.keys.identity.publicKey).toBe(inForce())
    expect(readFileSync(join(directory, 'identity.key')).equals(before.file)).toBe(false)
    expect(statSync(join(directory, 'identity.key')).mode & 0o777).toBe(0o600)
    expect(readNodeState(directory).node).toEqual(node.state.node)
    await expectWhole()
  })

  test('whose answer was lost is finished by the new key', async () => {
    gateway.lostAnswers = 1
    await expect(rotateIdentity(await open())).rejects.toMatchObject({ code: 'E_GATEWAY_UNREACHABLE' })
    expect(pending()).toBe(true)
    await finishRotation(await open())
    await expectWhole()
  })

  test('of which the gateway never heard is done by the old key', async () => {
    const next = await keepNextIdentity(directory)
    await finishRotation(await open())
    expect(inForce()).toBe(next.publicKey)
    await expectWhole()
  })

  test('cut short between node.json and the key file is finished', async () => {
    const next = await keepNextIdentity(directory)
    gateway.identities.set(readNodeState(directory).node.id, next.publicKey)
    updateNodeState(directory, (state) => ({ ...state, identity: next.publicKey }))
    await finishRotation(await open())
    await expectWhole()
  })

  test('that nobody asked for leaves the old key in force, also when it is found later', async () => {
    gateway.rotationAsked = false
    const before = inForce()
    await expect(rotateIdentity(await open())).rejects.toMatchObject({ code: 'E_ROTATION_NOT_ASKED' })
    expect(pending()).toBe(false)
    await keepNextIdentity(directory)
    await finishRotation(await open())
    expect(inForce()).toBe(before)
    await expectWhole()
  })

  test('ended by another command meanwhile is no harm', async () => {
    const running = await open()
    await rotateIdentity(await open())
    await rotateIdentity(running).catch(() => {})
    rmSync(join(directory, 'identity.next.key'), { force: true })
    await expectWhole()
  })

  test('is refused without a gateway, and nothing but the next key has changed', async () => {
    const node = await open()
    const before = readFileSync(join(directory, 'identity.key'), 'utf8')
    const { url } = gateway
    await gateway.close()
    await expect(rotateIdentity(node)).rejects.toMatchObject({ code: 'E_GATEWAY_UNREACHABLE' })
    expect(readFileSync(join(directory, 'identity.key'), 'utf8')).toBe(before)
    expect(statSync(join(directory, 'identity.next.key')).mode & 0o777).toBe(0o600)
    expect(url).toBe(readNodeState(directory).gateway.url)
    gateway = await startGateway()
  })

  test('without one under way costs no request', async () => {
    await finishRotation(await open())
    expect(rotations()).toBe(0)
  })

  test('promotes nothing if there is nothing to promote', async () => {
    const before = readFileSync(join(directory, 'identity.key'), 'utf8')
    promoteNextIdentity(directory)
    expect(readFileSync(join(directory, 'identity.key'), 'utf8')).toBe(before)
  })
})

describe('clawnode', () => {
  test('run rotates when the gateway asks, and holds its session; the next one is by the new key', async () => {
    const agent = new Clawnode(['run', '--dir', directory, '--no-mesh'])
    const session = await gateway.registered()
    const before = inForce()
    session.send({ type: 'rotate_identity' })
    session.send({ type: 'rotate_identity' })
    await agent.prints('new identity key')
    expect(inForce()).not.toBe(before)
    expect(rotations()).toBe(1)
    agent.child.kill('SIGKILL')
    await agent.ended
    const again = new Clawnode(['run', '--dir', directory, '--no-mesh'])
    await gateway.registered()
    await again.prints('session up')
    await expectWhole()
  })

  test('rotate-identity does it with the agent running and without', async () => {
    const rotate = () => clawnode(['rotate-identity', '--dir', directory])
    const first = await rotate()
    expect(first).toMatchObject({ code: 0, stdout: `the identity key is now ${inForce()}\n` })
    const agent = new Clawnode(['run', '--dir', directory, '--no-mesh'])
    await gateway.registered()
    await agent.prints('session up')
    const second = await rotate()
    expect(second).toMatchObject({ code: 0, stdout: `the identity key is now ${inForce()}\n` })
    expect(second.stdout).not.toBe(first.stdout)
    await agent.prints('new identity key')

    gateway.rotationAsked = false
    expect(await rotate()).toMatchObject({ code: 7, stderr: expect.stringContaining('E_ROTATION_NOT_ASKED') })
    await expectWhole()
  })

  test('exec finds the key in force after a rotation that was cut short', async () => {
    gateway.lostAnswers = 1
    await rotateIdentity(await open()).catch(() => {})
    const args = ['exec', '--dir', directory, '--secret', 'S=s', '--', 'sh', '-c', 'printf %s "$S"']
    expect(await clawnode(args)).toMatchObject({ code: 0, stdout: 'value' })
    await expectWhole()
  })

  test('refuses a key that belongs to neither', async () => {
    writeFileSync(join(directory, 'identity.key'), `${Buffer.alloc(32, 9).toString('base64')}\n`)
    await keepNextIdentity(directory)
    await expect(openJoinedNode(directory, systemClock)).rejects.toMatchObject({ code: 'E_STATE_INVALID' })
  })
})
