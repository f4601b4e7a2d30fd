/** `claw api-key` and `claw whoami` against a gateway that really runs. */
import { globSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { expect, test } from 'vitest'
import { claw, type Finished } from '../support/claw.ts'
import { ownGateway } from '../support/own-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const gateway = ownGateway()

const run = (args: readonly string[], tokenFile = gateway.running.adminTokenFile): Promise<Finished> =>
  claw(args, { env: { ...gateway.running.env, CLAW_TOKEN_FILE: tokenFile } })

/** A file with the token of a new key. */
async function keyFile(name: string, role: string, ...flags: readonly string[]): Promise<string> {
  const file = join(temporaryDirectory(), `${name}.token`)
  const made = await run(['api-key', 'create', name, '--role', role, '--file', file, ...flags])
  if (made.code !== 0) throw new Error(made.stderr)
  return file
}

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const numberOf = (digits: string): number =>
  [...digits].reduce((value, digit) => value * 62 + DIGITS.indexOf(digit), 0)

test('create prints the token alone, in the form that scanners look for', async () => {
  const { code, stdout, stderr } = await run(['api-key', 'create', 'printed', '--role', 'viewer'])
  expect(code).toBe(0)
  const [, letters = '', sum = ''] = /^clawkey_([0-9A-Za-z]{32})([0-9A-Za-z]{6})\n$/.exec(stdout) ?? []
  expect(numberOf(sum)).toBe(crc32(letters))
  expect(stderr).toBe('API key printed, role viewer, without an end\n')
})

test('create writes a file that only its owner can read, and never over another', async () => {
  const file = await keyFile('filed', 'operator', '--ttl', '30d')
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const again = await run(['api-key', 'create', 'second', '--role', 'admin', '--file', file])
  expect(again).toMatchObject({ code: 6, stdout: '', stderr: expect.stringContaining('E_FILE_EXISTS') })
  const nowhere = join(gateway.home, 'no', 'such', 'directory')
  expect((await run(['api-key', 'create', 'third', '--role', 'admin', '--file', nowhere])).code).not.toBe(0)
  const { items } = JSON.parse((await run(['api-keys', '-o', 'json'])).stdout)
  const statuses = items.map(({ name, status }: { name: string; status: string }) => [name, status])
  expect(Object.fromEntries(statuses)).toMatchObject({ filed: 'valid', third: 'revoked' })
  expect(Object.fromEntries(statuses)).not.toHaveProperty('second')
  const me = await run(['whoami'], file)
  expect(me.stdout).toBe('key:filed, role operator, expires in 29d\n')
})

test('a key does what its role may, by flag as by environment, and no more', async () => {
  const viewer = await keyFile('watcher', 'viewer')
  expect((await run(['node', 'ls'], viewer)).code).toBe(0)
  const { url, ca } = gateway.running
  const flags = ['--gateway', url, '--ca', ca, '--token-file', viewer]
  expect((await claw(['token', 'ls', ...flags], { cwd: tmpdir() })).code).toBe(0)
  for (const [args, role] of [
    [['token', 'create'], 'operator'],
    [['node', 'rm', 'x', '--yes'], 'operator'],
    [['api-key', 'ls'], 'admin'],
    [['api-key', 'create', 'more', '--role', 'viewer'], 'admin'],
    [['api-key', 'revoke', 'watcher'], 'admin'],
  ] as const) {
    const denied = await run(args, viewer)
    expect(denied).toMatchObject({ code: 7, stdout: '', stderr: expect.stringContaining('E_ROLE_DENIED') })
    expect(denied.stderr).toContain(`the role ${role}`)
  }
  expect((await run(['token', 'create'], await keyFile('hand', 'operator'))).code).toBe(0)
})

test('revoke ends a key at once, and names the keys that it has made', async () => {
  const lead = await keyFile('lead', 'admin')
  expect((await run(['api-key', 'create', 'made-by-lead', '--role', 'viewer'], lead)).code).toBe(0)
  const revoked = await run(['api-key', 'revoke', 'lead'])
  expect(revoked.code).toBe(0)
  expect(revoked.stderr).toContain('API key made-by-lead (viewer) was made with it and is still valid')
  expect(await run(['whoami'], lead)).toMatchObject({
    code: 4,
    stdout: '',
    stderr: expect.stringContaining('E_AUTH_REVOKED'),
  })
  expect((await run(['api-key', 'revoke', 'lead'])).code).toBe(5)
  expect((await run(['api-keys'])).stdout).toMatch(/^lead +admin +revoked +\S.* +admin:root +never$/m)
})

test('a key that has expired says so', async () => {
  const brief = await keyFile('brief', 'viewer', '--ttl', '1s')
  await expect
    .poll(async () => (await run(['whoami'], brief)).stderr, { timeout: 30_000 })
    .toContain('E_AUTH_EXPIRED')
})

test.each([
  [['create', 'x'], '--role is missing'],
  [['create', 'x', '--role', 'root'], '--role is one of viewer, operator, admin'],
  [['create', 'X', '--role', 'viewer'], 'NAME is'],
  [['create', 'x', '--role', 'viewer', '--ttl', '0s'], '--ttl is from 1s'],
  [['create', 'x', '--role', 'viewer', '--ttl', 'soon'], 'is not a span of time'],
])('api-key %j is refused before anything is asked', async (args, message) => {
  const asked = await claw(['api-key', ...args], {
    env: { ...gateway.running.env, CLAW_GATEWAY: 'https://127.0.0.1:1' },
  })
  expect(asked).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(message) })
})

test('the token is in no file of the gateway, and in no message', async () => {
  const file = await keyFile('hidden', 'viewer')
  const token = readFileSync(file, 'utf8').trim()
  const mistyped = join(temporaryDirectory(), 'mistyped.token')
  writeFileSync(mistyped, `${token}x`, { mode: 0o600 })
  const asked = await run(['whoami'], mistyped)
  expect(asked).toMatchObject({ code: 4, stderr: expect.stringContaining('E_AUTH_INVALID') })
  expect(asked.stderr).not.toContain(token)
  const listed = await run(['api-keys', '-o', 'json'])
  expect(listed.stdout).not.toContain(token)
  const files = globSync('**/*', { cwd: join(gateway.home, '.claw'), withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  )
  expect(files.length).toBeGreaterThan(5)
  const holding = files.filter(({ parentPath, name }) => readFileSync(join(parentPath, name)).includes(token))
  expect(holding.map(({ name }) => name)).toEqual([])
})
