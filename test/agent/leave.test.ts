/** A node goes by its own wish, and nothing of it is left: or nothing is changed. */
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../agent/clock.ts'
import { rotateIdentity } from '../../agent/identity-rotation.ts'
import { openJoinedNode } from '../../agent/joined-node.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { hasTerminal, inTerminal } from '../support/terminal.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'

let gateway: FakeGateway
let directory: string

beforeEach(async () => {
  gateway = await startGateway()
  directory = await joinedDirectory(gateway)
})

afterEach(() => gateway.close())

const leave = (...flags: readonly string[]) => clawnode(['leave', '--dir', directory, ...flags])
const requests = () => gateway.requests.filter((route) => route === 'POST /v1/node/leave').length

/** Every file in the directory, with its content. */
const contents = () =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => [name, name.includes('.') ? readFileSync(join(directory, name), 'latin1') : ''])

describe('clawnode leave', () => {
  test('takes the node out of its fleet, and keys, secrets and state off the disk, overwritten', async () => {
    gateway.secrets.set('s', { value: utf8('value'), allowed: true })
    expect(await clawnode(['secret', 'get', 's', '--dir', directory])).toMatchObject({ code: 0 })
    for (const file of ['mesh.json', 'audit-checkpoint', '.node.json.0123456789abcdef'])
      writeFileSync(join(directory, file), 'of ours', { mode: 0o600 })
    // Another name of a file shows what becomes of its content.
    const elsewhere = temporaryDirectory()
    const [cached = ''] = readdirSync(join(directory, 'secrets-cache')).filter((name) => name.length > 60)
    const watched = ['identity.key', 'wireguard.key', 'sealing.key', 'node.json', `secrets-cache/${cached}`]
    watched.forEach((file, n) => {
      linkSync(join(directory, file), join(elsewhere, String(n)))
    })

    expect(await leave('--yes')).toEqual({
      code: 0,
      signal: null,
      stdout: 'node-a has left test-fleet, and nothing of it is left here\n',
      stderr: '',
    })
    expect([gateway.left.size, requests()]).toEqual([1, 1])
    expect(existsSync(directory)).toBe(false)
    for (const n of watched.keys()) expect(readFileSync(join(elsewhere, String(n)))).toHaveLength(0)

    const again = await leave('--yes')
    expect(again).toMatchObject({ code: 78, stderr: expect.stringContaining('no node has joined from') })
    expect(requests()).toBe(1)
  })

  test('leaves what is not ours, and follows no link', async () => {
    const outside = temporaryDirectory()
    writeFileSync(join(outside, 'kept'), 'kept')
    symlinkSync(outside, join(directory, 'secrets-cache'))
    symlinkSync(join(outside, 'kept'), join(directory, 'mesh.json'))
    writeFileSync(join(directory, 'notes.txt'), 'mine')
    mkdirSync(join(directory, 'more'))
    const { code, stderr } = await leave('--yes')
    expect([code, stderr]).toEqual([0, expect.stringContaining(`still in ${directory}: more, notes.txt`)])
    expect(readdirSync(directory).sort()).toEqual(['more', 'notes.txt'])
    expect(readFileSync(join(outside, 'kept'), 'utf8')).toBe('kept')
  })

  test('waits until the agent has heard of it and has ended by itself', async () => {
    const agent = new Clawnode(['run', '--dir', directory, '--no-mesh'])
    const session = await gateway.registered()
    await agent.prints('session up')
    const leaving = new Clawnode(['leave', '--dir', directory, '--yes'])
    await leaving.prints('waiting for the agent to end')
    expect(existsSync(join(directory, 'identity.key'))).toBe(true)
    session.send({ type: 'revoked' })
    expect(await agent.ended).toMatchObject({ code: 194 })
    expect(await leaving.ended).toMatchObject({ code: 0 })
    expect(existsSync(directory)).toBe(false)
  })

  test('takes it for done if the gateway has removed the node already, or its answer was lost', async () => {
    gateway.lostAnswers = 1
    const before = contents()
    expect(await leave('--yes')).toMatchObject({
      code: 9,
      stderr: expect.stringContaining('nothing was changed here'),
    })
    expect([gateway.left.size, contents()]).toEqual([1, before])
    expect(await leave('--yes')).toMatchObject({ code: 0, stdout: expect.stringContaining('has left') })
    expect(existsSync(directory)).toBe(false)
  })

  test('signs with the key that the gateway knows, also after a rotation that was cut short', async () => {
    gateway.lostAnswers = 1
    const node = await openJoinedNode(directory, systemClock)
    await rotateIdentity(node).catch(() => {})
    node.connection.close()
    expect(await leave('--yes')).toMatchObject({ code: 0 })
    expect(gateway.left.size).toBe(1)
  })
})

describe('nothing is changed', () => {
  test('while the gateway is away; --local takes the node off the machine alone', async () => {
    await gateway.close()
    const before = contents()
    const away = await leave('--yes')
    expect([away.code, away.stdout]).toEqual([9, ''])
    expect(away.stderr).toMatch(/nothing was changed here: .* cannot be reached/)
    expect(away.stderr).toContain('clawnode leave --local')
    expect(contents()).toEqual(before)

    const local = await leave('--yes', '--local')
    expect(local).toMatchObject({ code: 0, stderr: '' })
    expect(local.stdout).toContain('its owner has to run `claw node rm node-a`')
    expect(existsSync(directory)).toBe(false)
    gateway = await startGateway()
  })

  test('at the word of somebody who is not the gateway', async () => {
    gateway.onTheWay = (answer) => ({ ...answer, body: '{"left":"of mine"}' })
    const before = contents()
    expect(await leave('--yes')).toMatchObject({ stderr: expect.stringContaining('E_GATEWAY_KEY') })
    gateway.onTheWay = ({ headers: _, ...answer }) => ({
      ...answer,
      status: 403,
      headers: {},
      body: '{"code":"E_NODE_REMOVED"}',
    })
    expect(await leave('--yes')).toMatchObject({ code: 9 })
    expect(contents()).toEqual(before)
  })

  test('by --local while an agent runs, which nobody would tell', async () => {
    const agent = new Clawnode(['run', '--dir', directory, '--no-mesh'])
    await gateway.registered()
    await agent.prints('session up')
    const local = await leave('--yes', '--local')
    expect(local).toMatchObject({ code: 6, stderr: expect.stringContaining('E_ALREADY_RUNNING') })
    expect([requests(), existsSync(join(directory, 'identity.key'))]).toEqual([0, true])
  })

  test('unless somebody says so', async () => {
    const before = contents()
    const asked = await leave()
    expect(asked).toMatchObject({ code: 10, stderr: expect.stringContaining('E_CONFIRMATION_NEEDED') })
    expect(asked.stderr).toContain(`takes node-a out of the fleet test-fleet for good`)
    expect([requests(), contents()]).toEqual([0, before])
  })

  test.skipIf(!hasTerminal)('unless the name of the node is typed', async () => {
    const type = (answer: string) =>
      inTerminal(['leave', '--dir', directory], { program: 'clawnode', asked: 'to go on:', answer })
    expect(await type('yes')).toMatchObject({
      code: 10,
      shown: expect.stringContaining('nothing was changed'),
    })
    expect(requests()).toBe(0)
    expect(await type('node-a')).toMatchObject({ code: 0, shown: expect.stringContaining('has left') })
    expect(existsSync(directory)).toBe(false)
  })
})

test('the rest of a node whose removal was cut short goes with --local', async () => {
  for (const key of ['identity.key', 'sealing.key']) writeFileSync(join(directory, key), '', { mode: 0o600 })
  expect(await leave('--yes')).toMatchObject({ code: 78, stderr: expect.stringContaining('--local') })
  expect(await leave('--yes', '--local')).toMatchObject({ code: 0 })
  expect(existsSync(directory)).toBe(false)
})
