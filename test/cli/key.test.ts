/** `claw key` against a gateway that really runs: a master key is added, everything moves to it, the old one goes. */
import { copyFileSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { KeyringReply } from '../../protocol/secrets.ts'
import { claw } from '../support/claw.ts'
import { ownGateway } from '../support/own-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const gateway = ownGateway()
const { run, json } = gateway
const directory = () => join(gateway.home, '.claw')
const keyring = () => readFileSync(join(directory(), 'keyring.json'), 'utf8')
const keysOf = (text: string) => Object.values((JSON.parse(text) as { keys: Record<string, string> }).keys)

test('rotate, rewrap, retire: values stay readable all the while, and no key is ever printed', async () => {
  const names = Array.from({ length: 5 }, (_, index) => `moved/${index}`)
  for (const name of names) await run(['secret', 'set', name], `value of ${name}`)
  await run(['secret', 'set', 'moved/0'], 'value of moved/0')
  expect(await json<KeyringReply>(['key', 'status'])).toMatchObject({
    active: 1,
    versions: [1],
    usage: { 1: 6 },
  })
  const inUse = await run(['key', 'retire', '1', '--dir', directory(), '--yes'])
  expect(inUse).toMatchObject({ code: 6, stderr: expect.stringContaining('E_MASTER_KEY_IN_USE') })

  const rotated = await run(['key', 'rotate', '--dir', directory()])
  expect(rotated).toMatchObject({ code: 0, stdout: '' })
  expect(rotated.stderr).toContain('claw key retire 1')
  expect(await json<KeyringReply>(['key', 'status'])).toMatchObject({
    active: 2,
    versions: [1, 2],
    usage: { 2: 6 },
    rewrap: { state: 'idle', done: 6, left: 0 },
  })
  const shown = await run(['key', 'status'])
  for (const name of names) expect((await run(['secret', 'get', name])).stdout).toBe(`value of ${name}`)

  const retired = await run(['key', 'retire', '1', '--dir', directory(), '--yes'])
  expect([retired.code, retired.stderr]).toEqual([0, expect.stringContaining('version 1 is removed')])
  expect(await json<KeyringReply>(['key', 'status'])).toMatchObject({ active: 2, versions: [2] })
  for (const name of names) expect((await run(['secret', 'get', name])).stdout).toBe(`value of ${name}`)
  expect((await run(['secret', 'get', 'moved/0', '--version', '1'])).stdout).toBe('value of moved/0')

  for (const key of keysOf(keyring()))
    for (const { stdout, stderr } of [rotated, retired, shown]) expect(stdout + stderr).not.toContain(key)
  expect(statSync(join(directory(), 'keyring.json')).mode & 0o777).toBe(0o600)
})

test('retire asks, and takes no active key and none that is not there', async () => {
  const { active } = await json<KeyringReply>(['key', 'status'])
  const before = keyring()
  const args = (version: number) => ['key', 'retire', String(version), '--dir', directory()]
  expect(await run([...args(active), '--yes'])).toMatchObject({
    code: 6,
    stderr: expect.stringContaining('it is the active one'),
  })
  expect(await run([...args(99), '--yes'])).toMatchObject({
    code: 5,
    stderr: expect.stringContaining('E_KEY_VERSION'),
  })
  expect((await run(['key', 'retire', 'one', '--yes'])).code).toBe(2)
  expect(keyring()).toBe(before)
})

test('without a flag, the gateway of this directory is meant', async () => {
  const env = { CLAW_HOME: join(gateway.home, 'own') }
  const { active } = await json<KeyringReply>(['key', 'status'])
  const rotated = await claw(['key', 'rotate'], { cwd: gateway.home, env })
  expect([rotated.code, rotated.stderr]).toEqual([
    0,
    expect.stringContaining(`version ${active + 1} is active`),
  ])
  const elsewhere = await claw(['key', 'rotate', '--dir', directory()], { cwd: temporaryDirectory(), env })
  expect([elsewhere.code, elsewhere.stderr]).toEqual([
    0,
    expect.stringContaining(`version ${active + 2} is active`),
  ])
  const asked = await claw(['key', 'retire', String(active)], {
    cwd: gateway.home,
    env,
    input: `${active}\n`,
  })
  expect(asked).toMatchObject({ code: 10, stderr: expect.stringContaining('E_CONFIRMATION_NEEDED') })
})

test('a gateway that is not of this machine gets its key by the owner’s hand, from the owner’s copy', async () => {
  const copies = join(temporaryDirectory(), "owner's copies")
  const rotate = () => run(['key', 'rotate', '--dir', copies])
  expect(await rotate()).toMatchObject({ code: 5, stderr: expect.stringContaining('E_NO_KEYRING') })
  mkdirSync(copies, { mode: 0o700 })
  copyFileSync(join(directory(), 'keyring.json'), join(copies, 'keyring.json'))
  const { active } = await json<KeyringReply>(['key', 'status'])

  const { code, stdout, stderr } = await rotate()
  expect([code, stderr]).toEqual([0, expect.stringContaining('The gateway does not have it yet')])
  const quoted = `'${copies.replace("'", "'\\''")}/keyring.json'`
  expect(stdout).toBe(`wrangler secret put MASTER_KEYRING < ${quoted}\nclaw key rewrap\n`)
  const copy = readFileSync(join(copies, 'keyring.json'), 'utf8')
  expect(JSON.parse(copy).active).toBe(active + 1)
  for (const key of keysOf(copy)) expect(stdout + stderr).not.toContain(key)
  // What has not been handed over is not added to.
  expect(await rotate()).toMatchObject({ code: 6, stderr: expect.stringContaining('E_KEYRING_DIFFERS') })
  expect(readFileSync(join(copies, 'keyring.json'), 'utf8')).toBe(copy)
})

test('a gateway that does not run has the new key from its next start', async () => {
  const stopped = join(temporaryDirectory(), 'stopped')
  mkdirSync(stopped, { mode: 0o700 })
  copyFileSync(join(directory(), 'keyring.json'), join(stopped, 'keyring.json'))
  const { active } = JSON.parse(keyring())
  const rotated = await claw(['key', 'rotate', '--dir', stopped], { cwd: temporaryDirectory() })
  expect([rotated.code, rotated.stderr]).toEqual([
    0,
    expect.stringContaining(`version ${active + 1} counts from the next start`),
  ])
})

test('rewrap with nothing to move says so', async () => {
  await run(['secret', 'set', 'still'], 'x')
  const moved = await run(['key', 'rewrap'])
  expect([moved.code, moved.stderr]).toEqual([
    0,
    expect.stringMatching(/^everything is stored under version \d+\n$/m),
  ])
  expect((await run(['key', 'status'])).stdout).toContain('move to the active key: nothing is left to move')
})
