/** What the owner does to keys and nodes, with a gateway and a node that really run. */
import { chmodSync, cpSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readNodeState } from '../../agent/node-state.ts'
import { claw, type RunningGateway, startGateway, unusedPort } from '../support/claw.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const KEY = /^[A-Za-z0-9_-]{43}\n$/

async function joinFleet(gateway: RunningGateway, directory: string): Promise<void> {
  const { stdout: token } = await claw(['token', 'create'], { env: gateway.env })
  const args = ['join', '--gateway', gateway.url, '--token-file', '-', '--dir', directory, '--name', 'node-a']
  expect(await clawnode(args, { input: token })).toMatchObject({ code: 0, stderr: '' })
}

const run = (directory: string) => new Clawnode(['run', '--dir', directory, '--no-mesh'])

async function stop(agent: Clawnode): Promise<void> {
  agent.child.kill('SIGTERM')
  await agent.ended
}

const publicKeyIn = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8')).x

describe('gateway-key', () => {
  test('a node that has heard of the next key follows the gateway to it; one that has not takes it for an impostor', async () => {
    const home = temporaryDirectory()
    const directory = join(home, '.claw')
    const port = String(await unusedPort())
    const started = await startGateway(directory, '--port', port)
    const [informed, asleep] = [join(home, 'informed'), join(home, 'asleep')]
    await joinFleet(started, informed)
    await joinFleet(started, asleep)
    await started.end('SIGTERM')

    const announced = await claw(['gateway-key', 'announce'], { cwd: home })
    expect(announced).toMatchObject({ code: 0, stdout: expect.stringMatching(KEY) })
    expect(announced.stderr).toContain('SIGHUP')
    expect((await claw(['gateway-key', 'announce'], { cwd: home })).stdout).toBe(announced.stdout)
    expect(statSync(join(directory, 'gateway-next.jwk')).mode & 0o777).toBe(0o600)

    const announcing = await startGateway(directory, '--port', port)
    const first = run(informed)
    await first.prints('session up')
    await stop(first)
    expect(readNodeState(informed).gateway.keys).toHaveLength(2)
    await announcing.end('SIGTERM')

    const before = publicKeyIn(join(directory, 'gateway.jwk'))
    const rotated = await claw(['gateway-key', 'rotate', '--dir', directory])
    expect(rotated).toMatchObject({ code: 0, stdout: announced.stdout })
    expect(publicKeyIn(join(directory, 'gateway-old.jwk'))).toBe(before)
    expect(`${publicKeyIn(join(directory, 'gateway.jwk'))}\n`).toBe(announced.stdout)
    expect(statSync(join(directory, 'gateway-old.jwk')).mode & 0o777).toBe(0o600)
    expect(readdirSync(directory)).not.toContain('gateway-next.jwk')

    await startGateway(directory, '--port', port)
    const followed = run(informed)
    await followed.prints('session up')
    expect(readNodeState(informed).gateway.keys).toEqual([announced.stdout.trim()])
    await run(asleep).prints('E_GATEWAY_KEY')
  })

  test.each([['announce'], ['rotate']])('%s where there is no gateway makes nothing', async (verb) => {
    const cwd = temporaryDirectory()
    const asked = await claw(['gateway-key', verb], { cwd })
    expect(asked).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('E_NO_GATEWAY') })
    expect(readdirSync(cwd)).toEqual([])
  })

  test('rotate needs an announcement, and a next key that is one', async () => {
    const directory = temporaryDirectory()
    await (await startGateway(directory)).end('SIGTERM')
    const before = readFileSync(join(directory, 'gateway.jwk'), 'utf8')
    const rotate = () => claw(['gateway-key', 'rotate', '--dir', directory])
    expect(await rotate()).toMatchObject({ code: 6, stderr: expect.stringContaining('E_NOT_ANNOUNCED') })
    writeFileSync(join(directory, 'gateway-next.jwk'), '{"canary":1}', { mode: 0o600 })
    const damaged = await rotate()
    expect(damaged).toMatchObject({ code: 78, stderr: expect.stringContaining('E_STATE_DAMAGED') })
    expect(damaged.stderr).not.toContain('canary')
    expect(readFileSync(join(directory, 'gateway.jwk'), 'utf8')).toBe(before)
  })
})

test('admin-token rotate makes the old token void with the next start', async () => {
  const directory = temporaryDirectory()
  const port = String(await unusedPort())
  const first = await startGateway(directory, '--port', port)
  const old = join(directory, 'old.token')
  writeFileSync(old, readFileSync(first.adminTokenFile), { mode: 0o600 })
  const rotated = await claw(['admin-token', 'rotate', '--dir', directory])
  expect(rotated).toMatchObject({ code: 0, stdout: '' })
  expect(statSync(first.adminTokenFile).mode & 0o777).toBe(0o600)
  expect(rotated.stderr).not.toContain(readFileSync(first.adminTokenFile, 'utf8').trim())
  const ls = (...flags: string[]) => claw(['node', 'ls', ...flags], { env: first.env })
  expect((await ls('--token-file', old)).code).toBe(0)
  await first.end('SIGTERM')
  await startGateway(directory, '--port', port)
  expect((await ls()).code).toBe(0)
  expect((await ls('--token-file', old)).code).toBe(4)
  expect(await claw(['admin-token', 'rotate', '--dir', temporaryDirectory()])).toMatchObject({ code: 2 })
})

test('a node is held, shown as held with the reason, released, and given a new identity', async () => {
  const home = temporaryDirectory()
  const gateway = await startGateway(join(home, '.claw'))
  const directory = join(home, 'node')
  await joinFleet(gateway, directory)
  const asOwner = async (...args: string[]) => {
    const done = await claw(['node', ...args], { env: gateway.env })
    expect(done).toMatchObject({ code: 0, stderr: expect.not.stringContaining('error') })
    return done.stdout
  }
  const agent = run(directory)
  await agent.prints('session up')

  await asOwner('quarantine', 'node-a', '--reason', 'stolen laptop')
  await agent.prints('claw node release node-a')
  const status = await clawnode(['status', '--dir', directory])
  expect(status).toMatchObject({ code: 3, stdout: expect.stringMatching(/session +quarantined/) })
  expect(status.stdout).toMatch(/fix +.*claw node release node-a/)
  expect(await asOwner('ls')).toMatch(/QUARANTINE.*\nnode-a +quarantined .* stolen laptop/)
  expect(await asOwner('show', 'node-a')).toMatch(/status +quarantined\nquarantine +stolen laptop\n/)
  await stop(agent)

  await asOwner('release', 'node-a')
  expect(await asOwner('ls')).not.toContain('QUARANTINE')
  const again = run(directory)
  await again.prints('session up')
  const before = readNodeState(directory).identity
  await asOwner('rotate-identity', 'node-a')
  await again.prints('new identity key')
  expect(readNodeState(directory).identity).not.toBe(before)
  expect(JSON.parse(await asOwner('show', 'node-a', '-o', 'json')).keys.identity).toBe(
    readNodeState(directory).identity,
  )
  await stop(again)
  await run(directory).prints('session up')

  const nobody = await claw(['node', 'quarantine', 'nobody'], { env: gateway.env })
  expect(nobody).toMatchObject({ code: 5, stderr: expect.stringContaining('E_NODE_NOT_FOUND') })
})

test('two machines with one state directory are both held', async () => {
  const home = temporaryDirectory()
  const gateway = await startGateway(join(home, '.claw'))
  const [original, clone] = [join(home, 'original'), join(home, 'clone')]
  await joinFleet(gateway, original)
  const first = run(original)
  await first.prints('session up')
  await stop(first)
  cpSync(original, clone, { recursive: true })
  chmodSync(clone, 0o700)

  const cloned = run(clone)
  await cloned.prints('session up')
  const again = run(original)
  await Promise.all([again.prints('E_NODE_QUARANTINED'), cloned.prints('E_NODE_QUARANTINED')])
  const { stdout } = await claw(['node', 'show', 'node-a'], { env: gateway.env })
  expect(stdout).toMatch(/quarantine +two machines use its identity/)
})
