import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { CommandError, systemCommands } from '../../agent/mesh/exec.ts'
import { generateX25519 } from '../../crypto/x25519.ts'

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

  test('hands nothing of its own environment on', async () => {
    process.env['CLAW_TEST_CANARY'] = 'canary'
    expect(await text(run('env', []))).not.toContain('canary')
    delete process.env['CLAW_TEST_CANARY']
  })
})
