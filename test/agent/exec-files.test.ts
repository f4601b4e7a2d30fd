/** Secrets as files and pipes: in memory, private, whole, and gone with the command. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { RuntimeDirectory } from '../../agent/secrets/runtime-directory.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { memoryDirectory } from '../support/memory-directory.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'

const ENTRY = join(import.meta.dirname, '../../bin/clawnode.js')
const BINARY = Uint8Array.of(0xff, 0, 1, 0x0a)

let gateway: FakeGateway
let directory: string
let memory: string

beforeEach(async () => {
  memory = memoryDirectory()
  gateway = await startGateway()
  gateway.secrets.set('binary', { value: BINARY, allowed: true })
  gateway.secrets.set('text', { value: utf8('hunter2'), allowed: true })
  directory = await joinedDirectory(gateway)
})

afterEach(() => gateway.close())

const args = (...rest: string[]) => ['exec', '--dir', directory, ...rest]
const env = () => ({ XDG_RUNTIME_DIR: memory })
const exec = (...rest: string[]) => clawnode(args(...rest), { env: env() })
/** Directories of commands that run, or did. */
const left = () => (existsSync(join(memory, 'clawnode')) ? readdirSync(join(memory, 'clawnode')) : [])
/** For a while, so that nothing is left of a test that fails. */
const HOLD = 'trap "exit 3" TERM; echo "ready $F $$"; for n in $(seq 1200); do sleep 0.05; done'

function endQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

describe('a file', () => {
  test('holds the value byte for byte, and its path is in the variable', async () => {
    const { code, stdout, stderr } = await exec(
      '--file',
      'F=binary',
      '--',
      'sh',
      '-c',
      'od -An -tx1 "$F"; echo "$F"',
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [bytes, path] = stdout.trim().split('\n')
    expect(bytes?.trim()).toBe('ff 00 01 0a')
    expect(path).toMatch(new RegExp(`^${memory}/clawnode/exec-\\d+-\\d+-\\d+/F$`))
    expect(left()).toEqual([])
  })

  test.each(['000', '077', '777'])('is private under umask %s', (umask) => {
    const script = 'own=$(dirname "$F"); stat -c %a "$F" "$P" "$own" "$(dirname "$own")"'
    const own = args('--no-cache', '--file', 'F=text', '--pipe', 'P=text', '--', 'sh', '-c', script)
    const argv = ['-c', `umask ${umask}; exec "$@"`, 'sh', process.execPath, ENTRY, ...own]
    const child = spawn('sh', argv, {
      env: { ...process.env, ...env() },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    return expect(text(child.stdout)).resolves.toBe('600\n600\n700\n700\n')
  })

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('goes when the program is sent %s', async (signal) => {
    const running = new Clawnode(
      args('--file', 'F=text', '--', 'sh', '-c', HOLD.replace('TERM', signal.slice(3))),
      {
        env: env(),
      },
    )
    await running.prints('ready')
    expect(left()).toHaveLength(1)
    running.child.kill(signal)
    expect(await running.ended).toEqual({ code: 3, signal: null })
    expect(left()).toEqual([])
  })

  test('goes with a command that is not found', async () => {
    expect(await exec('--file', 'F=text', '--', 'no-such-command')).toMatchObject({ code: 127 })
    expect(left()).toEqual([])
  })

  test('left by kill -9 is taken away by the next start, and that of a command that runs is not', async () => {
    const start = async () => {
      const running = new Clawnode(args('--file', 'F=text', '--', 'sh', '-c', HOLD), { env: env() })
      await running.prints('ready')
      const [, path = '', pid] = /ready (.*) (\d+)\n/.exec(running.stdout) ?? []
      // Without its keeper nobody ends it.
      onTestFinished(() => endQuietly(Number(pid)))
      return { running, path }
    }
    const killed = await start()
    const alive = await start()
    expect(left()).toHaveLength(2)
    killed.running.child.kill('SIGKILL')
    await once(killed.running.child, 'exit')
    expect(readFileSync(killed.path, 'utf8')).toBe('hunter2')
    expect(await exec('--file', 'F=text', '--', 'true')).toMatchObject({ code: 0 })
    expect(existsSync(killed.path)).toBe(false)
    expect(readFileSync(alive.path, 'utf8')).toBe('hunter2')
    alive.running.child.kill('SIGTERM')
    expect(await alive.running.ended).toEqual({ code: 3, signal: null })
    expect(left()).toEqual([])
  })
})

describe('a pipe', () => {
  test('can be read as often as it says, and then is gone', async () => {
    const script = 'cat "$P"; cat "$P"; test -e "$P" && echo still there; cat "$P"'
    const { code, stdout } = await exec('--pipe', 'P=text', '--max-reads', '2', '--', 'sh', '-c', script)
    expect({ code, stdout }).toEqual({ code: 1, stdout: 'hunter2hunter2' })
    expect(left()).toEqual([])
  })

  test('that nobody reads is in nobody’s way', async () => {
    expect(await exec('--pipe', 'P=text', '--', 'true')).toMatchObject({ code: 0, stderr: '' })
    expect(left()).toEqual([])
  })

  test.each([
    ['0', ['--pipe', 'P=text']],
    ['x', ['--pipe', 'P=text']],
    ['2', ['--file', 'P=text']],
  ])('--max-reads %s with %j is a usage error', async (reads, flags) => {
    expect(await exec(...flags, '--max-reads', reads, '--', 'true')).toMatchObject({ code: 2 })
  })
})

describe('the place in memory', () => {
  const open = (at: string) => {
    const opened = RuntimeDirectory.open({ XDG_RUNTIME_DIR: at })
    opened.remove()
    return opened.path
  }

  test('is never on a disk', () => {
    const disk = temporaryDirectory()
    expect(open(disk).startsWith(disk)).toBe(false)
    expect(readdirSync(disk)).toEqual([])
  })

  test('is never a link, nor one that others can write to', () => {
    const elsewhere = memoryDirectory()
    symlinkSync(elsewhere, join(memory, 'clawnode'))
    expect(open(memory).startsWith(memory)).toBe(false)
    expect(readdirSync(elsewhere)).toEqual([])
    const open_ = memoryDirectory()
    mkdirSync(join(open_, 'clawnode'))
    chmodSync(join(open_, 'clawnode'), 0o777)
    expect(open(open_).startsWith(open_)).toBe(false)
  })

  test('may be one that others can look into, as service managers make them', () => {
    mkdirSync(join(memory, 'clawnode'), { mode: 0o755 })
    expect(open(memory).startsWith(memory)).toBe(true)
  })

  test('keeps what is not of its kind, and what is another container’s', () => {
    mkdirSync(join(memory, 'clawnode'), { mode: 0o700 })
    const kept = ['note', 'exec-1-2-3', 'exec-x']
    for (const name of kept) writeFileSync(join(memory, 'clawnode', name), '')
    open(memory)
    expect(left().sort()).toEqual([...kept].sort())
  })

  test('wipes what it removes', () => {
    const opened = RuntimeDirectory.open({ XDG_RUNTIME_DIR: memory })
    const path = join(opened.path, 'F')
    writeFileSync(path, 'hunter2', { mode: 0o600 })
    const held = openSync(path, 'r')
    opened.remove()
    expect(readSync(held, Buffer.alloc(7), 0, 7, 0)).toBe(0)
    closeSync(held)
    expect(existsSync(opened.path)).toBe(false)
    expect(statSync(join(memory, 'clawnode')).isDirectory()).toBe(true)
  })
})
