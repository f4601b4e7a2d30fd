/** SIGHUP: a running `claw up` takes what its files hold by now, or goes on as it was. */
import { spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { connect } from 'node:tls'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { AdminClient } from '../../cli/admin-client.ts'
import { readRunFile } from '../../cli/run-file.ts'
import { rotateAdminToken } from '../../cli/up/key-files.ts'
import { addMasterKey, removeMasterKey } from '../../cli/up/keyring-file.ts'
import { isAlive } from '../../cli/up/processes.ts'
import { reloadRunningGateway } from '../../cli/up/reload.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { writePrivateFile } from '../../host/private-file.ts'
import { Bystander } from '../fuzz/bystander.ts'
import { describeGateway, RawNode } from '../fuzz/raw-node.ts'
import { claw, type RunningGateway, startGateway } from '../support/claw.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const CLAW = join(import.meta.dirname, '../../bin/claw.js')
const FILES = ['admin.token', 'ca.pem', 'gateway.jwk', 'keyring.json'] as const
const WAIT = { timeout: 30_000, interval: 20 }

let home: string
beforeEach(() => {
  home = join(temporaryDirectory(), 'gateway')
})

/** Asked from outside: whether it serves. What it serves with, each test finds out by what it does. */
const serves = async (url: string): Promise<boolean> => {
  const connection = new GatewayConnection({
    url: parseGatewayUrl(url),
    ca: readFileSync(join(home, 'ca.pem'), 'utf8'),
  })
  try {
    return (await connection.request({ method: 'GET', path: '/healthz' })).status === 200
  } finally {
    connection.close()
  }
}

const reload = (): Promise<boolean> => reloadRunningGateway(home, serves)

const keyring = () =>
  JSON.parse(readFileSync(join(home, 'keyring.json'), 'utf8')) as {
    active: number
    keys: Record<string, string>
  }
const writeKeyring = (content: unknown): void =>
  writePrivateFile(
    join(home, 'keyring.json'),
    typeof content === 'string' ? content : JSON.stringify(content),
  )

const set = async ({ env }: RunningGateway, name: string, input: string) =>
  expect(await claw(['secret', 'set', name], { env, input })).toMatchObject({ code: 0 })
const get = ({ env }: RunningGateway, name: string) => claw(['secret', 'get', name], { env })

function linesOf(gateway: RunningGateway): string[] {
  const lines: string[] = []
  if (gateway.process.stderr) createInterface(gateway.process.stderr).on('line', (line) => lines.push(line))
  return lines
}
const reloads = (lines: readonly string[]): string[] => lines.filter((line) => line.includes('reload'))

describe('a changed keyring', () => {
  test('is in force without a restart: URL, process and data stay, what it seals needs the new key', async () => {
    const gateway = await startGateway(home)
    const lines = linesOf(gateway)
    const before = readRunFile(home)
    await set(gateway, 'old', 'sealed under the first')

    expect(addMasterKey(home)).toEqual({ active: 2, versions: [1, 2] })
    expect(await reload()).toBe(true)
    await set(gateway, 'new', 'sealed under the second')
    expect(await get(gateway, 'old')).toMatchObject({ code: 0, stdout: 'sealed under the first' })
    expect(await get(gateway, 'new')).toMatchObject({ code: 0, stdout: 'sealed under the second' })

    const after = readRunFile(home)
    expect(after).toMatchObject({ url: gateway.url, gateway: before?.gateway, reload: { count: 1 } })
    expect(after?.workerd?.pid).not.toBe(before?.workerd?.pid)
    expect(after?.workerd && isAlive(after.workerd)).toBe(true)
    expect(reloads(lines)).toEqual(['reload: the files are in force; master key version 2 of 1, 2'])

    // Proof that both were what was used: each secret is lost with its key, and no other, and is back with it.
    const both = keyring()
    writeKeyring({ active: 1, keys: { 1: both.keys['1'] } })
    await reload()
    expect((await get(gateway, 'old')).stdout).toBe('sealed under the first')
    expect((await get(gateway, 'new')).code).not.toBe(0)
    writeKeyring(both)
    await reload()
    expect(removeMasterKey(home, 1)).toEqual({ active: 2, versions: [2] })
    await reload()
    expect((await get(gateway, 'old')).code).not.toBe(0)
    expect((await get(gateway, 'new')).stdout).toBe('sealed under the second')
  })

  test('cuts sessions, which can begin again at once', async () => {
    const gateway = await startGateway(home)
    const connection = new GatewayConnection({
      url: parseGatewayUrl(gateway.url),
      ca: readFileSync(gateway.ca, 'utf8'),
    })
    const admin = new AdminClient(connection, readFileSync(gateway.adminTokenFile, 'utf8').trim())
    const served = readFileSync(join(home, 'server.pem'), 'utf8')
    const node = await RawNode.make(describeGateway(connection, served), 'one')
    await node.enrol((await admin.createToken({ uses: 1 })).token)
    const { socket, register } = await node.dial()
    await once(socket, 'open')
    socket.send(JSON.stringify(register))
    await once(socket, 'message')
    socket.on('error', () => {})
    const cut = once(socket, 'close')

    addMasterKey(home)
    expect(await reload()).toBe(true)
    await cut
    const again = await Bystander.connect(node)
    expect(await admin.node('one')).toMatchObject({ id: node.id, status: 'online' })
    expect(again.disturbances).toEqual([])
    await again.close()
    connection.close()
  })

  test('counts when told several times while it reads: the last word is what the files hold', async () => {
    const gateway = await startGateway(home)
    const lines = linesOf(gateway)
    for (let i = 0; i < 5; i++) {
      addMasterKey(home)
      gateway.process.kill('SIGHUP')
    }
    await vi.waitFor(() => expect(lines.join()).toContain('master key version 6 of 1, 2, 3, 4, 5, 6'), WAIT)
    // One that was under way when the last was told, and one for all that were told meanwhile.
    expect(reloads(lines).length).toBeLessThan(5)
    await set(gateway, 'last', 'sealed under the sixth')
    expect((await get(gateway, 'last')).stdout).toBe('sealed under the sixth')
  })
})

describe('files that are not fit', () => {
  const unfit: readonly (readonly [what: string, spoil: () => void, why: string])[] = [
    ['no keyring', () => writeKeyring('{"active":1'), 'it is not a keyring'],
    [
      'an active version that is not there',
      () => writeKeyring({ ...keyring(), active: 2 }),
      'it is not a keyring',
    ],
    [
      'another key under the same version',
      () => writeKeyring({ active: 1, keys: { 1: Buffer.alloc(32, 7).toString('base64') } }),
      'version 1 is another key than the one in use',
    ],
    ['a keyring that is gone', () => rmSync(join(home, 'keyring.json')), 'it is missing'],
    ['an admin token that is gone', () => rmSync(join(home, 'admin.token')), 'it is missing'],
    ['a gateway key that is gone', () => rmSync(join(home, 'gateway.jwk')), 'it is missing'],
    [
      'a keyring that others can read',
      () => {
        rmSync(join(home, 'keyring.json'))
        writeFileSync(join(home, 'keyring.json'), '{}', { mode: 0o644 })
      },
      'others can read it',
    ],
    [
      'a damaged certificate of the CA',
      () => writePrivateFile(join(home, 'ca.pem'), 'x'),
      'it holds no certificate',
    ],
  ]

  test('are refused in one line that names the reason and no key, and everything stays', async () => {
    const gateway = await startGateway(home)
    const lines = linesOf(gateway)
    await set(gateway, 'kept', 'still here')
    const before = readRunFile(home)
    const good = FILES.map((name) => [name, readFileSync(join(home, name), 'utf8')] as const)
    const keys = Object.values(keyring().keys)
    for (const [what, spoil, why] of unfit) {
      spoil()
      const refused = { code: 'E_RELOAD_REFUSED', why: expect.stringContaining(why) }
      await expect(reload(), what).rejects.toMatchObject(refused)
      for (const [name, content] of good) writePrivateFile(join(home, name), content)
    }
    expect((await get(gateway, 'kept')).stdout).toBe('still here')
    expect(readRunFile(home)?.workerd).toEqual(before?.workerd)
    expect(reloads(lines)).toHaveLength(unfit.length)
    for (const line of reloads(lines))
      expect(line).toMatch(/^error: reload refused, everything stays as it was: /)
    for (const key of keys) expect(lines.join('\n')).not.toContain(key)
  })

  test('do not keep it from taking better ones later', async () => {
    const gateway = await startGateway(home)
    const good = keyring()
    writeKeyring('')
    await expect(reload()).rejects.toMatchObject({ code: 'E_RELOAD_REFUSED' })
    writeKeyring(good)
    addMasterKey(home)
    expect(await reload()).toBe(true)
    expect(readRunFile(home)?.reload).toEqual({ count: 2 })
    await set(gateway, 'a', 'value')
  })
})

test('files that hold nothing new disturb nobody', async () => {
  const gateway = await startGateway(home)
  const lines = linesOf(gateway)
  const before = readRunFile(home)?.workerd
  expect(await reload()).toBe(true)
  expect(readRunFile(home)?.workerd).toEqual(before)
  expect(reloads(lines)).toEqual(['reload: the files hold nothing new'])
})

test('a new admin token is in force, and the old one void', async () => {
  const gateway = await startGateway(home)
  const old = join(home, 'old.token')
  writePrivateFile(old, readFileSync(gateway.adminTokenFile, 'utf8'))
  rotateAdminToken(home)
  expect(await reload()).toBe(true)
  expect((await claw(['node', 'ls'], { env: gateway.env })).code).toBe(0)
  expect((await claw(['node', 'ls', '--token-file', old], { env: gateway.env })).code).toBe(4)
})

test('a certificate that is missing is made anew, by the same CA', async () => {
  const gateway = await startGateway(home)
  const before = readFileSync(join(home, 'server.pem'), 'utf8')
  rmSync(join(home, 'server.pem'))
  expect(await reload()).toBe(true)
  const made = new X509Certificate(readFileSync(join(home, 'server.pem')))
  expect(made.toString()).not.toBe(new X509Certificate(before).toString())
  const socket = connect({
    host: '127.0.0.1',
    port: Number(new URL(gateway.url).port),
    ca: readFileSync(gateway.ca),
    servername: 'localhost',
  })
  await once(socket, 'secureConnect')
  expect(socket.getPeerX509Certificate()?.fingerprint256).toBe(made.fingerprint256)
  socket.destroy()
})

test('where no gateway runs there is nobody to tell', async () => {
  expect(await reload()).toBe(false)
  await (await startGateway(home)).end('SIGTERM')
  addMasterKey(home)
  expect(await reload()).toBe(false)
  const gateway = await startGateway(home)
  await gateway.end('SIGKILL')
  expect(await reload()).toBe(false)
})

test('one that has only begun takes the files when it serves', async () => {
  await (await startGateway(home)).end('SIGTERM')
  const starting = startGateway(home)
  await vi.waitFor(() => expect(readRunFile(home)).toBeDefined(), { ...WAIT, interval: 1 })
  expect(readRunFile(home)?.url).toBeUndefined()
  expect(await reload()).toBe(true)
  const gateway = await starting
  expect(readRunFile(home)).toMatchObject({ url: gateway.url, reload: { count: 1 } })
})

test('one that ends instead is reported', async () => {
  const gateway = await startGateway(home)
  gateway.process.kill('SIGSTOP')
  const waiting = expect(reload()).rejects.toMatchObject({ code: 'E_GATEWAY_ENDED' })
  gateway.process.kill('SIGKILL')
  await waiting
})

test('a probe that says no, or fails, is asked again', async () => {
  await startGateway(home)
  const answers = [() => Promise.reject(new Error('not yet')), async () => false, async () => true]
  expect(await reloadRunningGateway(home, () => answers.shift()?.() ?? Promise.resolve(false))).toBe(true)
  expect(answers).toEqual([])
})

test('in a terminal it reloads too, and ends when the terminal is closed', async () => {
  // `script` holds a terminal for the program, and closes it when it ends.
  const command = [process.execPath, CLAW, 'up', '--port', '0', '--dir', home].join(' ')
  const terminal = spawn('script', ['-qfc', `exec ${command}`, '/dev/null'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let shown = ''
  terminal.stdout.on('data', (chunk) => {
    shown += chunk
  })
  await vi.waitFor(() => expect(readRunFile(home)?.url).toBeDefined(), WAIT)
  addMasterKey(home)
  expect(await reload()).toBe(true)
  await vi.waitFor(() => expect(shown).toContain('master key version 2 of 1, 2'), WAIT)

  const run = readRunFile(home)
  if (run?.workerd === undefined) throw new Error('run.json names no workerd')
  terminal.kill('SIGKILL')
  await vi.waitFor(
    () => expect([isAlive(run.gateway), run.workerd && isAlive(run.workerd)]).toEqual([false, false]),
    WAIT,
  )
  expect(readRunFile(home)).toBeUndefined()
})
