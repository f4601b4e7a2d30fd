import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { CommandError, systemCommands } from '../../agent/mesh/exec.ts'
import { generateX25519 } from '../../crypto/x25519.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const EXEC = join(import.meta.dirname, '../../agent/mesh/exec.ts')
const { run, launch } = systemCommands
const text = async (output: Promise<Uint8Array>) => Buffer.from(await output).toString()
const sh = (script: string, input?: Uint8Array) => run('sh', ['-c', script, 'sh'], input)

async function failure(promise: Promise<unknown>): Promise<CommandError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof CommandError)) throw new Error('not a CommandError')
  return error
}

describe('running a command', () => {
  test('gives its output, and it finds its input at /dev/stdin', async () => {
    expect(await text(sh('echo hello'))).toBe('hello\n')
    expect(await text(run('cat', ['/dev/stdin'], Buffer.from('a\0b')))).toBe('a\0b')
    expect(await text(run('cat', ['/dev/stdin'], Buffer.alloc(3_000_000, 'x')))).toHaveLength(3_000_000)
  })

  test('a failure names program and status, and neither arguments nor input (M3.3)', async () => {
    const key = Buffer.from(generateX25519().expose()).toString('base64')
    const script = 'cat >&2; echo "bad argument: $1" >&2; exit 7'
    const failures = [
      run('sh', ['-c', `echo "bad: $1" >&2; exit 7`, 'sh', key]),
      run('sh', ['-c', script, 'sh', key], Buffer.from(key)),
      run('sh', ['-c', script, 'sh', key], Buffer.from(`PrivateKey=${key}\n`)),
    ].map(failure)
    for (const error of await Promise.all(failures)) {
      expect(error.message).toMatch(/^sh exited with status 7: /)
      const shown = [
        error.message,
        error.stack,
        JSON.stringify(error),
        inspect(error, { depth: 9, showHidden: true }),
      ]
      expect(shown.join()).not.toContain(key.slice(0, 16))
    }
  })

  test('tells of a program that is not there', async () => {
    expect((await failure(run('claw-no-such-program', []))).failure).toBe('missing')
    expect((await failure(run('claw-no-such-program', [], Buffer.from('x')))).failure).toBe('missing')
    expect((await failure(launch('claw-no-such-program', []))).message).toBe(
      'claw-no-such-program is not installed',
    )
  })

  test('ends a command that prints without end', async () => {
    expect((await failure(run('cat', ['/dev/zero']))).failure).toBe('too much output')
  })

  test.each([
    ['no PATH', undefined],
    ['an empty PATH', ''],
    ['empty and relative entries', ':.:bin::/usr/bin:'],
  ])('never runs what lies in the current directory, with %s', async (_, path) => {
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'bin'))
    for (const name of ['claw-here', 'bin/claw-here'])
      writeFileSync(join(directory, name), '#!/bin/sh\necho executed\n', { mode: 0o755 })
    const script = `
      import { systemCommands } from ${JSON.stringify(EXEC)}
      const tell = (how) => (output) => console.log(how, String(output))
      for (const input of [undefined, new Uint8Array()])
        await systemCommands.run('claw-here', [], input).then(tell('ran'), tell('refused'))
      await systemCommands.launch('claw-here', []).then(tell('ran'), tell('refused'))`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      cwd: directory,
      env: path === undefined ? {} : { PATH: path },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const refused = 'refused CommandError: claw-here is not installed\n'
    expect(await textOf(child.stdout)).toBe(refused.repeat(3))
  })

  test('hands nothing of its own environment on', async () => {
    process.env['CLAW_TEST_CANARY'] = 'canary'
    expect(await text(run('env', []))).not.toContain('canary')
    delete process.env['CLAW_TEST_CANARY']
  })
})
