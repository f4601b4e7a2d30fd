import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { utf8 } from '../../crypto/bytes.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'

const VALUE = 'corréct horse\nbattery 🔑 canary-51c2'

let gateway: FakeGateway
let directory: string

beforeEach(async () => {
  gateway = await startGateway()
  gateway.secrets.set('db.password', { value: utf8(VALUE), allowed: true })
  gateway.secrets.set('other', { value: utf8('second'), allowed: true })
  gateway.secrets.set('forbidden', { value: utf8('never'), allowed: false })
  gateway.secrets.set('binary', { value: Uint8Array.of(0xff, 0, 1), allowed: true })
  directory = await joinedDirectory(gateway)
})

afterEach(() => gateway.close())

const exec = (...args: string[]) => clawnode(['exec', '--dir', directory, ...args])
const deliveries = () => gateway.requests.filter((request) => request === 'POST /v1/node/secrets').length

describe('clawnode exec', () => {
  test('puts the secrets into the environment, byte for byte, in one request', async () => {
    const script = 'printf %s "$DB"; printf "|%s|%s" "$OTHER" "$KEPT"'
    const args = [
      'exec',
      '--dir',
      directory,
      '--secret',
      'DB=db.password',
      '--secret',
      'OTHER=other',
      '--',
      'sh',
      '-c',
      script,
    ]
    const { code, stdout, stderr } = await clawnode(args, { env: { KEPT: 'as it was', DB: 'overridden' } })
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: `${VALUE}|second|as it was`, stderr: '' })
    expect(deliveries()).toBe(1)
  })

  test('passes standard input and arguments through, flags among them', async () => {
    const args = [
      'exec',
      '--dir',
      directory,
      '--secret',
      'A=other',
      '--',
      'sh',
      '-c',
      'cat; echo "$@"',
      'sh',
      '--dir',
      '-x',
    ]
    expect(await clawnode(args, { input: 'from outside ' })).toMatchObject({
      stdout: 'from outside --dir -x\n',
    })
  })

  test.each([0, 1, 3, 125, 255])('exits with the command’s code %i', async (code) => {
    expect(await exec('--secret', 'A=other', '--', 'sh', '-c', `exit ${code}`)).toMatchObject({
      code,
      signal: null,
    })
  })

  test.each(['SIGTERM', 'SIGINT', 'SIGKILL', 'SIGUSR1'] as const)(
    'ends by %s if the command did',
    async (signal) => {
      const script = `kill -${signal.slice(3)} $$`
      expect(await exec('--secret', 'A=other', '--', 'sh', '-c', script)).toMatchObject({
        code: null,
        signal,
      })
    },
  )

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const)(
    'hands %s to the command, which decides',
    async (signal) => {
      const script = `process.on('${signal}', () => { console.log('got ${signal}'); process.exit(42) }); setInterval(() => {}, 1e6); console.log('ready')`
      const running = new Clawnode([
        'exec',
        '--dir',
        directory,
        '--secret',
        'A=other',
        '--',
        process.execPath,
        '-e',
        script,
      ])
      await running.prints('ready')
      running.child.kill(signal)
      expect(await running.ended).toEqual({ code: 42, signal: null })
      expect(running.stdout).toContain(`got ${signal}`)
    },
  )
})

describe('clawnode exec does not start the command', () => {
  const marker = () => join(directory, 'started')
  const touch = () => ['--', 'touch', marker()]

  test.each([
    [
      'a secret this node may not read',
      ['--secret', 'A=other', '--secret', 'B=forbidden'],
      'E_SECRET_DENIED',
      125,
    ],
    ['a secret that is not there', ['--timeout', '0', '--secret', 'A=absent'], 'E_SECRET_NOT_FOUND', 125],
    ['a value that is no text', ['--secret', 'A=binary'], 'E_SECRET_NOT_TEXT', 125],
    ['a malformed assignment', ['--secret', 'A'], 'E_USAGE', 2],
  ])('for %s', async (_, args, text, code) => {
    const output = await exec(...args, ...touch())
    expect(output).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(text) })
    expect(existsSync(marker())).toBe(false)
  })

  test('without a gateway', async () => {
    const elsewhere = join(directory, 'node.json')
    await gateway.close()
    const output = await exec('--timeout', '0', '--secret', 'A=other', ...touch())
    expect(output).toMatchObject({ code: 125, stderr: expect.stringContaining('E_GATEWAY_UNREACHABLE') })
    expect(existsSync(marker())).toBe(false)
    gateway = await startGateway()
    expect(existsSync(elsewhere)).toBe(true)
  })

  test('on a machine that has not joined', async () => {
    const output = await clawnode(['exec', '--dir', temporaryDirectory(), '--secret', 'A=other', ...touch()])
    expect(output).toMatchObject({ code: 125, stderr: expect.stringContaining('E_NOT_JOINED') })
  })
})

test('a command that is not found is 127, one that cannot be executed 126, none at all 2', async () => {
  const file = join(directory, 'not-executable')
  writeFileSync(file, '')
  expect(await exec('--secret', 'A=other', '--', 'no-such-command')).toMatchObject({ code: 127 })
  expect(await exec('--secret', 'A=other', '--', file)).toMatchObject({ code: 126 })
  expect(await exec('--secret', 'A=other')).toMatchObject({ code: 2 })
})

test('a clock that is five minutes off is corrected, one that is twenty off is reported', async () => {
  gateway.now = () => Date.now() - 5 * 60_000
  expect(await exec('--secret', 'A=other', '--', 'true')).toMatchObject({ code: 0 })
  gateway.now = () => Date.now() - 20 * 60_000
  expect(await exec('--secret', 'A=other', '--', 'true')).toMatchObject({
    code: 125,
    stderr: expect.stringContaining('E_CLOCK_SKEW'),
  })
})
