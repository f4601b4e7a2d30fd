/** A command whose secrets change while it runs: started anew, told by a signal, or left alone. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { utf8 } from '../../crypto/bytes.ts'
import { SecretName } from '../../protocol/ids.ts'
import { Clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import type { FakeSession } from '../support/fake-session.ts'
import { memoryDirectory } from '../support/memory-directory.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { hasTerminal } from '../support/terminal.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'

const ENTRY = join(import.meta.dirname, '../../bin/clawnode.js')

let gateway: FakeGateway
let directory: string
let memory: string

beforeEach(async () => {
  memory = memoryDirectory()
  gateway = await startGateway()
  set('password', 'first', 1)
  set('other', 'stays', 1)
  directory = await joinedDirectory(gateway)
})

afterEach(() => gateway.close())

const set = (name: string, value: string, version: number) =>
  gateway.secrets.set(name, { value: utf8(value), allowed: true, version })

async function startAgent(): Promise<{ agent: Clawnode; session: FakeSession }> {
  const agent = new Clawnode(['run', '--dir', directory, '--no-mesh'])
  const session = await gateway.registered()
  await agent.prints('session up')
  return { agent, session }
}

const exec = (...args: string[]) =>
  new Clawnode(['exec', '--dir', directory, ...args], { env: { XDG_RUNTIME_DIR: memory } })

/** Says what it has, and stays until it is told to end. */
const NODE = (script: string) => [
  '--',
  process.execPath,
  '-e',
  `${script}; setTimeout(() => process.exit(99), 60_000)`,
]
const SAY = `process.on('SIGTERM', () => { console.log('told to end'); process.exit(9) }); console.log('has', process.env.P)`

const push = (session: FakeSession, name: string, version: number) =>
  session.send({ type: 'secret_changed', name: SecretName.parse(name), version })

const fetches = () => gateway.requests.filter((request) => request === 'POST /v1/node/secrets').length

describe('with an agent that runs', () => {
  test('the command is started anew, with the new value', async () => {
    const { session } = await startAgent()
    const job = exec('--secret', 'P=password', '--secret', 'O=other', ...NODE(SAY))
    await job.prints('has first')
    set('password', 'second', 2)
    push(session, 'password', 2)
    await job.prints('has second')
    expect(job.stdout).toBe('has first\ntold to end\nhas second\n')
    expect(job.stderrLines.join('\n')).toContain('password (version 2)')
    job.child.kill('SIGTERM')
    expect(await job.ended).toEqual({ code: 9, signal: null })
    expect(job.stderrLines.join('\n')).not.toMatch(/first|second/)
  })

  test('what is the same after all starts nothing', async () => {
    const { session } = await startAgent()
    const job = exec('--secret', 'P=password', '--secret', 'O=other', ...NODE(SAY))
    await job.prints('has first')
    // The policy of one has changed.
    push(session, 'other', 1)
    await gateway.requested('POST /v1/node/secrets', 2)
    set('password', 'second', 2)
    push(session, 'password', 2)
    await job.prints('has second')
    expect(job.stdout).toBe('has first\ntold to end\nhas second\n')
  })

  test('one that does not end is made to', async () => {
    const { session } = await startAgent()
    const stubborn = `process.on('SIGTERM', () => console.log('no')); console.log('has', process.env.P)`
    const job = exec('--grace', '1s', '--secret', 'P=password', ...NODE(stubborn))
    await job.prints('has first')
    set('password', 'second', 2)
    push(session, 'password', 2)
    await job.prints('has second')
    expect(job.stdout).toBe('has first\nno\nhas second\n')
    job.child.kill('SIGKILL')
  })

  test('it gets a signal, its files are new by then, and its variables are as they were', async () => {
    const { session } = await startAgent()
    const script = `const fs = require('fs'); const say = () => console.log('file', fs.readFileSync(process.env.F, 'utf8'), 'variable', process.env.P); process.on('SIGUSR1', say); say()`
    const job = exec(
      '--on-change',
      'signal:SIGUSR1',
      '--file',
      'F=password',
      '--secret',
      'P=password',
      ...NODE(script),
    )
    await job.prints('file first variable first')
    expect(job.stderrLines.join('\n')).toMatch(/cannot change.*"variables":"P"/)
    set('password', 'second', 2)
    push(session, 'password', 2)
    await job.prints('file second variable first')
    job.child.kill('SIGTERM')
    expect(await job.ended).toEqual({ code: null, signal: 'SIGTERM' })
  })

  test('a pipe can be read again', async () => {
    const { session } = await startAgent()
    const script = `const fs = require('fs'); const say = () => console.log('pipe', fs.readFileSync(process.env.F, 'utf8')); process.on('SIGUSR1', say); say()`
    const job = exec('--on-change', 'signal:SIGUSR1', '--pipe', 'F=password', ...NODE(script))
    await job.prints('pipe first')
    set('password', 'second', 2)
    push(session, 'password', 2)
    await job.prints('pipe second')
  })

  test('what was missed while the gateway was away is found when a session begins', async () => {
    const { session } = await startAgent()
    const job = exec('--secret', 'P=password', ...NODE(SAY))
    await job.prints('has first')
    set('password', 'second', 2)
    session.terminate()
    await gateway.registered()
    await job.prints('has second')
  })

  test('and what was missed while the agent was away, when it is back', async () => {
    const { agent } = await startAgent()
    const job = exec('--secret', 'P=password', ...NODE(SAY))
    await job.prints('has first')
    agent.child.kill('SIGKILL')
    await agent.ended
    set('password', 'second', 2)
    await Promise.all([startAgent(), job.prints('has second')])
  })

  test('a denial leaves the command what it has', async () => {
    const { session } = await startAgent()
    const job = exec('--secret', 'P=password', ...NODE(SAY))
    await job.prints('has first')
    gateway.secrets.set('password', { value: utf8('second'), allowed: false })
    push(session, 'password', 2)
    await job.prints('E_SECRET_DENIED')
    set('password', 'third', 3)
    push(session, 'password', 3)
    await job.prints('has third')
    expect(job.stdout).toBe('has first\ntold to end\nhas third\n')
  })

  test('a value that cannot be a variable leaves the command what it has', async () => {
    const { session } = await startAgent()
    const job = exec('--secret', 'P=password', ...NODE(SAY))
    await job.prints('has first')
    gateway.secrets.set('password', { value: Uint8Array.of(0xff), allowed: true, version: 2 })
    push(session, 'password', 2)
    await job.prints('E_SECRET_NOT_TEXT')
    set('password', 'third', 3)
    push(session, 'password', 3)
    await job.prints('has third')
  })

  test('a gateway that is away for the moment is asked again', async () => {
    const { session } = await startAgent()
    const job = exec('--secret', 'P=password', ...NODE(SAY))
    await job.prints('has first')
    set('password', 'second', 2)
    gateway.secretsRefusal = 'E_UNAVAILABLE'
    push(session, 'password', 2)
    await job.prints('E_UNAVAILABLE')
    gateway.secretsRefusal = undefined
    await job.prints('has second')
  })

  test('one that has begun by what the node has kept gets what there is when the gateway is back', async () => {
    await startAgent()
    expect(await exec('--secret', 'P=password', '--', 'true').ended).toMatchObject({ code: 0 })
    gateway.secretsRefusal = 'E_UNAVAILABLE'
    set('password', 'second', 2)
    const job = exec('--secret', 'P=password', ...NODE(SAY))
    await job.prints('has first')
    gateway.secretsRefusal = undefined
    await job.prints('has second')
  })

  test('one that is told to end while it is started anew is not started', async () => {
    const { session } = await startAgent()
    const marker = join(temporaryDirectory(), 'end')
    // Ends when the test has had its say.
    const script = `process.on('SIGTERM', () => console.log('told')); setInterval(() => require('fs').existsSync(${JSON.stringify(marker)}) && process.exit(5), 10); console.log('has', process.env.P)`
    const job = exec('--secret', 'P=password', ...NODE(script))
    await job.prints('has first')
    set('password', 'second', 2)
    push(session, 'password', 2)
    await job.prints('told')
    job.child.kill('SIGTERM')
    await job.prints('told\ntold')
    writeFileSync(marker, '')
    expect(await job.ended).toEqual({ code: 5, signal: null })
    expect(job.stdout).toBe('has first\ntold\ntold\n')
  })

  test('one that ends by itself is not started again', async () => {
    await startAgent()
    const job = exec('--secret', 'P=password', '--', 'sh', '-c', 'exit 4')
    expect({ ...(await job.ended), stderr: job.stderrLines }).toEqual({ code: 4, signal: null, stderr: [] })
  })

  test('with ignore nothing happens', async () => {
    const { session } = await startAgent()
    const job = exec('--on-change', 'ignore', '--secret', 'P=password', ...NODE(SAY))
    const watching = exec('--secret', 'P=password', ...NODE(SAY))
    await Promise.all([job.prints('has first'), watching.prints('has first')])
    set('password', 'second', 2)
    push(session, 'password', 2)
    await watching.prints('has second')
    job.child.kill('SIGTERM')
    await job.ended
    expect(job.stdout).toBe('has first\ntold to end\n')
  })

  test.skipIf(!hasTerminal)('nor at a terminal, where somebody may be typing', async () => {
    const { session } = await startAgent()
    const words = [
      process.execPath,
      ENTRY,
      'exec',
      '--dir',
      directory,
      '--secret',
      'P=password',
      ...NODE(SAY),
    ]
    const command = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
    const terminal = spawn('script', ['-qefc', `exec ${command}`, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    onTestFinished(() => void terminal.kill('SIGKILL'))
    let shown = ''
    const first = new Promise<void>((resolve) => {
      terminal.stdout.on('data', (chunk) => {
        shown += chunk
        if (shown.includes('has first')) resolve()
      })
    })
    const watching = exec('--secret', 'P=password', ...NODE(SAY))
    await Promise.all([first, watching.prints('has first')])
    set('password', 'second', 2)
    push(session, 'password', 2)
    await watching.prints('has second')
    expect(shown).toBe('has first\r\n')
    // Ctrl-C ends what runs in the terminal.
    terminal.stdin.write('\u0003')
    await once(terminal, 'close')
  })

  test('a version that was asked for by number stays', async () => {
    const { session } = await startAgent()
    const pinned = exec('--secret', 'P=password@1', ...NODE(SAY))
    const newest = exec('--secret', 'P=password', ...NODE(SAY))
    await Promise.all([pinned.prints('has first'), newest.prints('has first')])
    gateway.secrets.set('password', {
      value: utf8('second'),
      allowed: true,
      version: 2,
      older: { 1: utf8('first') },
    })
    push(session, 'password', 2)
    await newest.prints('has second')
    expect(pinned.stdout).toBe('has first\n')
  })
})

describe('without an agent', () => {
  test('nothing is watched unless it is asked for', async () => {
    const job = exec('--secret', 'P=password', ...NODE(SAY))
    await job.prints('has first')
    expect(existsSync(join(directory, 'agent.sock'))).toBe(false)
    job.child.kill('SIGTERM')
    expect(await job.ended).toEqual({ code: 9, signal: null })
    expect(fetches()).toBe(1)
  })

  test.each(['restarts', 'signal', 'signal:HUP', 'signal:SIGNONE'])(
    '--on-change %s is a usage error',
    async (action) => {
      expect(await exec('--on-change', action, '--', 'true').ended).toMatchObject({ code: 2 })
    },
  )
})

test('old and new may be asked for together, and the gateway is told for which job', async () => {
  gateway.secrets.set('password', {
    value: utf8('second'),
    allowed: true,
    version: 2,
    older: { 1: utf8('first') },
  })
  const flags = ['--workload', 'trainer', '--secret', 'OLD=password@1', '--secret', 'NEW=password']
  const job = exec(...flags, '--', 'sh', '-c', 'echo "$OLD $NEW"')
  expect(await job.ended).toMatchObject({ code: 0 })
  expect(job.stdout).toBe('first second\n')
  expect(gateway.workloads).toEqual(['trainer', 'trainer'])
})
