/** What a command prints under `--mask`, and without it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { utf8 } from '../../crypto/bytes.ts'
import { SecretName } from '../../protocol/ids.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { memoryDirectory } from '../support/memory-directory.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'

const VALUE = 'hunter2 "canary"'

let gateway: FakeGateway
let directory: string

beforeEach(async () => {
  gateway = await startGateway()
  gateway.secrets.set('password', { value: utf8(VALUE), allowed: true })
  gateway.secrets.set('pin', { value: utf8('123'), allowed: true })
  directory = await joinedDirectory(gateway)
})

afterEach(() => gateway.close())

const masked = (...args: string[]) => ['exec', '--dir', directory, '--mask', ...args]
const NODE = (script: string) => ['--', process.execPath, '-e', script]

describe('--mask', () => {
  test('hides the secret on both outputs, in its forms, and nothing else', async () => {
    const script = `const b = Buffer.from(process.env.P)
      console.log('plain', process.env.P, 'base64', b.toString('base64'), 'hex', b.toString('hex'), 'json', JSON.stringify({ p: process.env.P }))
      console.error('url', encodeURIComponent(process.env.P), 'rest')`
    const { code, stdout, stderr } = await clawnode(masked('--secret', 'P=password', ...NODE(script)))
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: 'plain *** base64 *** hex *** json {"p":"***"}\n',
      stderr: 'url *** rest',
    })
  })

  test('hides it where it comes in pieces, and shows what is not one as soon as that is known', async () => {
    const script = `process.stdout.write('a hunt'); process.stdin.once('data', () => {
      process.stdout.write('er2 "canary" and b'); setTimeout(() => process.stdout.write('\\n'), 20) })`
    const running = new Clawnode(masked('--secret', 'P=password', ...NODE(script)), { input: 'go' })
    expect(await running.ended).toEqual({ code: 0, signal: null })
    expect(running.stdout).toBe('a *** and b\n')
  })

  test('hides what was read from a file or a pipe', async () => {
    const env = { XDG_RUNTIME_DIR: memoryDirectory() }
    const flags = ['--file', 'F=password', '--pipe', 'Q=password']
    const { stdout } = await clawnode(masked(...flags, '--', 'sh', '-c', 'cat "$F"; echo; cat "$Q"'), { env })
    expect(stdout).toBe('***\n***')
  })

  test('names a value that is too short to be hidden', async () => {
    const { code, stdout, stderr } = await clawnode(
      masked('--secret', 'P=pin', '--', 'sh', '-c', 'echo "<$P>"'),
    )
    expect({ code, stdout }).toEqual({ code: 0, stdout: '<123>\n' })
    expect(stderr).toMatch(/too short to be hidden.*"secrets":"pin"/)
  })

  test('keeps every byte of a large output, in order', async () => {
    const script = `for (let n = 0; n < 200000; n++) process.stdout.write(n % 1000 ? n + '\\n' : n + process.env.P + '\\n')`
    const { code, stdout } = await clawnode(masked('--secret', 'P=password', ...NODE(script)))
    const expected = Array.from({ length: 200_000 }, (_, n) => (n % 1000 ? `${n}\n` : `${n}***\n`)).join('')
    expect(code).toBe(0)
    expect(stdout === expected).toBe(true)
  })

  test('a reader that leaves is noticed by the command, as without it', async () => {
    const script = `process.stdout.on('error', () => process.exit(7)); setInterval(() => console.log('line'), 5)`
    const running = new Clawnode(masked('--secret', 'P=password', ...NODE(script)))
    await running.prints('line')
    running.child.stdout?.destroy()
    expect(await running.ended).toEqual({ code: 7, signal: null })
  })

  test('does not wait for what the command leaves behind with its output open', async () => {
    const script = 'sleep 30 & echo "from $P"; exit 6'
    expect(await clawnode(masked('--secret', 'P=password', '--', 'sh', '-c', script))).toMatchObject({
      code: 6,
      stdout: 'from ***\n',
    })
  })

  test('after a change it hides the new value as well as the old one', async () => {
    const agent = new Clawnode(['run', '--dir', directory, '--no-mesh'])
    const session = await gateway.registered()
    await agent.prints('session up')
    const script = `const fs = require('fs'); const held = fs.readFileSync(process.env.F, 'utf8'); console.log('old', held)
      process.on('SIGUSR1', () => console.log('new', fs.readFileSync(process.env.F, 'utf8'), 'old', held))
      setTimeout(() => process.exit(99), 60_000)`
    const env = { XDG_RUNTIME_DIR: memoryDirectory() }
    const flags = ['--on-change', 'signal:SIGUSR1', '--file', 'F=password']
    const job = new Clawnode(masked(...flags, ...NODE(script)), { env })
    await job.prints('old ***')
    gateway.secrets.set('password', { value: utf8('another one'), allowed: true, version: 2 })
    session.send({ type: 'secret_changed', name: SecretName.parse('password'), version: 2 })
    await job.prints('new *** old ***')
    expect(job.stdout).toBe('old ***\nnew *** old ***\n')
  })
})
