/** `clawnode render` and `clawnode secret get`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { utf8 } from '../../crypto/bytes.ts'
import { SecretName } from '../../protocol/ids.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import type { FakeSession } from '../support/fake-session.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'

const VALUE = 'p"ß\\ $HOME\n'

let gateway: FakeGateway
let directory: string
let place: string
let template: string
let out: string

beforeEach(async () => {
  gateway = await startGateway()
  set('db/password', VALUE, 2)
  set('other', 'second', 1)
  gateway.secrets.set('forbidden', { value: utf8('never'), allowed: false })
  directory = await joinedDirectory(gateway)
  place = temporaryDirectory()
  template = join(place, 'app.tmpl')
  out = join(place, 'app.conf')
})

afterEach(() => gateway.close())

const set = (name: string, value: string, version: number) =>
  gateway.secrets.set(name, { value: utf8(value), allowed: true, version })

const flags = (...args: string[]) => ['render', '--dir', directory, ...args, template, out]
const render = (...args: string[]) => clawnode(flags(...args))
const modeOf = (path: string) => statSync(path).mode & 0o7777

describe('clawnode render', () => {
  test('writes the file, private, in one request for all of its secrets', async () => {
    writeFileSync(
      template,
      'password={{ secret "db/password" | trim | json }}\nagain={{ secret "db/password" }}{{ secret "other" }}',
    )
    const before = gateway.requests.length
    expect(await render()).toMatchObject({ code: 0, stdout: '', stderr: '' })
    expect(readFileSync(out, 'utf8')).toBe(`password=${JSON.stringify(VALUE.trim())}\nagain=${VALUE}second`)
    expect(modeOf(out)).toBe(0o600)
    expect(gateway.requests.length - before).toBe(1)
    expect(readdirSync(place).sort()).toEqual(['app.conf', 'app.tmpl'])
  })

  test('gives it the permissions that are asked for, and never others to write', async () => {
    writeFileSync(template, '{{ secret "other" }}')
    expect(await render('--mode', '0640')).toMatchObject({ code: 0 })
    expect(modeOf(out)).toBe(0o640)
    expect(await render()).toMatchObject({ code: 0 })
    expect(modeOf(out)).toBe(0o600)
    for (const mode of ['0666', '622', '4600', 'rw', ''])
      expect(await render(`--mode=${mode}`)).toMatchObject({ code: 2 })
  })

  test.each([
    ['a filter that there is not', '\n  {{ secret "other" | upper }}', 'app.tmpl:2:23: ', 'E_TEMPLATE', 78],
    ['a secret that is not there', 'a {{ secret "absent" }}', 'app.tmpl:1:3: ', 'E_SECRET_NOT_FOUND', 5],
    [
      'a secret that is denied',
      'ab\n{{ secret "other" }} {{ secret "forbidden" }}',
      'app.tmpl:2:22: ',
      'E_SECRET_DENIED',
      7,
    ],
    [
      'a value that a filter does not take',
      '{{ secret "other" | b64dec | b64dec }}',
      'app.tmpl:1:1: ',
      'E_TEMPLATE',
      78,
    ],
  ])('writes nothing for %s', async (_, text, where, code, exitCode) => {
    writeFileSync(template, text)
    writeFileSync(out, 'as it was', { mode: 0o600 })
    const output = await render('--timeout', '0')
    expect(output).toMatchObject({ code: exitCode, stdout: '' })
    expect(output.stderr).toContain(where)
    expect(output.stderr).toContain(code)
    expect(output.stderr).not.toContain('app.tmpl:2:1: ')
    expect(readFileSync(out, 'utf8')).toBe('as it was')
    expect(readdirSync(place).sort()).toEqual(['app.conf', 'app.tmpl'])
  })

  test('runs the command only when the file is new, and says when that fails', async () => {
    writeFileSync(template, '{{ secret "other" }}')
    const hook = ['--exec', `cat ${out}; echo`]
    expect(await render(...hook)).toMatchObject({ code: 0, stdout: 'second\n' })
    const { ino } = statSync(out)
    expect(await render(...hook)).toMatchObject({ code: 0, stdout: '' })
    expect(statSync(out).ino).toBe(ino)
    set('other', 'third', 2)
    const failing = await render('--exec', 'exit 3')
    expect(failing).toMatchObject({ code: 1, stderr: expect.stringContaining('E_RENDER_HOOK') })
    expect(readFileSync(out, 'utf8')).toBe('third')
  })

  test('sends the signal to the process of the file, and to nothing else', async () => {
    const script = `process.on('SIGHUP', () => process.exit(42)); console.log('ready'); setTimeout(() => {}, 60_000)`
    const reader = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void reader.kill('SIGKILL'))
    await once(reader.stdout, 'data')
    const pidFile = join(place, 'reader.pid')
    const hook = ['--signal', 'SIGHUP', '--pid-file', pidFile]
    writeFileSync(template, '{{ secret "other" }}')
    for (const wrong of ['0', '-1', '', 'x']) {
      writeFileSync(pidFile, wrong)
      set('other', `with ${wrong}`, 1)
      expect(await render(...hook)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('E_RENDER_HOOK'),
      })
    }
    writeFileSync(pidFile, `${reader.pid}\n`)
    set('other', 'right', 2)
    const ended = once(reader, 'exit')
    expect(await render(...hook)).toMatchObject({ code: 0 })
    expect(await ended).toEqual([42, null])
    for (const usage of [
      ['--signal', 'SIGHUP'],
      ['--pid-file', pidFile],
      ['--signal', 'HUP', '--pid-file', pidFile],
    ])
      expect(await render(...usage)).toMatchObject({ code: 2 })
  })

  test('with --watch it writes anew what has changed, and ends in peace', async () => {
    const agent = new Clawnode(['run', '--dir', directory, '--no-mesh'])
    const session = await gateway.registered()
    await agent.prints('session up')
    writeFileSync(template, '{{ secret "other" }}')
    const watching = new Clawnode(flags('--watch', '--exec', `echo "now $(cat ${out})"`))
    await watching.prints('now second')
    set('other', 'third', 2)
    push(session, 'other', 2)
    await watching.prints('now third')
    gateway.secrets.set('other', { value: utf8('denied'), allowed: false, version: 3 })
    push(session, 'other', 3)
    await watching.prints('E_SECRET_DENIED')
    expect(readFileSync(out, 'utf8')).toBe('third')
    watching.child.kill('SIGTERM')
    expect(await watching.ended).toEqual({ code: 0, signal: null })
    expect(watching.stdout).toBe('now second\nnow third\n')
    expect(existsSync(out)).toBe(true)
  })

  test('by what the node has kept, while the gateway is away', async () => {
    writeFileSync(template, '{{ secret "other" }}')
    await render()
    gateway.secretsRefusal = 'E_UNAVAILABLE'
    writeFileSync(template, 'now {{ secret "other" }}')
    expect(await render()).toMatchObject({ code: 0, stderr: expect.stringContaining('kept on this node') })
    expect(readFileSync(out, 'utf8')).toBe('now second')
    expect(await render('--no-cache', '--timeout', '0')).toMatchObject({ code: 9 })
  })
})

const push = (session: FakeSession, name: string, version: number) =>
  session.send({ type: 'secret_changed', name: SecretName.parse(name), version })

describe('clawnode secret get', () => {
  const get = (...args: string[]) => clawnode(['secret', 'get', '--dir', directory, ...args])

  test('prints the value byte for byte', async () => {
    expect(await get('db/password')).toEqual({ code: 0, signal: null, stdout: VALUE, stderr: '' })
  })

  test('of a version, and as JSON', async () => {
    gateway.secrets.set('other', {
      value: Uint8Array.of(0xff),
      allowed: true,
      version: 3,
      older: { 2: utf8('old') },
    })
    expect(await get('other', '--version', '2')).toMatchObject({ code: 0, stdout: 'old' })
    expect(await get('other@2')).toMatchObject({ code: 0, stdout: 'old' })
    expect(JSON.parse((await get('other', '--version', '2', '-o', 'json')).stdout)).toEqual({
      name: 'other',
      version: 2,
      class: 'managed',
      value: 'old',
    })
    expect(JSON.parse((await get('other', '-o', 'json')).stdout)).toMatchObject({ valueBase64: '/w==' })
  })

  test('says at once what is not to be had', async () => {
    expect(await get('absent')).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('E_SECRET_NOT_FOUND'),
    })
    expect(await get('forbidden')).toMatchObject({ code: 7, stdout: '' })
    expect(await get('other', '--version', '9')).toMatchObject({ code: 5 })
    expect(await get('Not A Name')).toMatchObject({ code: 2 })
    expect(await get('other', '--version', 'x')).toMatchObject({ code: 2 })
    expect(await get('other', '--workload', 'Not A Workload')).toMatchObject({ code: 2 })
  })

  test('by what the node has kept, while the gateway is away', async () => {
    await get('other')
    gateway.secretsRefusal = 'E_UNAVAILABLE'
    expect(await get('other')).toMatchObject({
      code: 0,
      stdout: 'second',
      stderr: expect.stringContaining('away'),
    })
    expect(await get('db/password')).toMatchObject({ code: 9, stdout: '' })
  })
})
