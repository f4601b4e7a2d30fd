/** Root signals no process on the word of somebody who could not signal it himself. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { runHook } from '../../agent/secrets/render-hook.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const SOMEBODY = 12_345

async function waiting(uid?: number) {
  const child = spawn('sh', ['-c', 'trap "exit 7" USR1; echo up; while :; do sleep 0.05; done'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...(uid !== undefined && { uid, gid: uid, cwd: '/' }),
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

function pidFile(pid: number | undefined, owner?: number): string {
  const path = join(temporaryDirectory(), 'pid')
  writeFileSync(path, `${pid}\n`)
  if (owner !== undefined) chownSync(path, owner, owner)
  return path
}

const hook = (file: string) => runHook({ command: undefined, signal: { name: 'SIGUSR1', pidFile: file } })

test('a process is sent its signal', async () => {
  const child = await waiting()
  const ended = once(child, 'exit')
  await hook(pidFile(child.pid))
  expect(await ended).toEqual([7, null])
})

test.skipIf(process.getuid?.() !== 0)(
  'a pid file of another user names only processes of that user',
  async () => {
    const [ours, theirs] = [await waiting(), await waiting(SOMEBODY)]
    await expect(hook(pidFile(ours.pid, SOMEBODY))).rejects.toMatchObject({
      code: 'E_RENDER_HOOK',
      why: expect.stringContaining('another user'),
    })
    const ended = once(theirs, 'exit')
    await hook(pidFile(theirs.pid, SOMEBODY))
    expect(await ended).toEqual([7, null])
    expect(ours.exitCode).toBe(null)
  },
)
