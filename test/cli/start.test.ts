/** `npm start` where there is nothing but Node: no WireGuard, no configuration, an empty directory. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readRunFile } from '../../cli/run-file.ts'
import { endProcess, identify, isAlive, type ProcessIdentity } from '../../cli/up/processes.ts'
import { claw, unusedPort } from '../support/claw.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const START = join(import.meta.dirname, '../../cli/start.ts')

async function start(cwd: string, port: number) {
  const env = { PATH: dirname(process.execPath) }
  const child = spawn(process.execPath, [START, '--port', String(port)], {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const ready = Promise.withResolvers<void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk
      if (output.includes('Ctrl-C')) ready.resolve()
    })
  }
  const ended = once(child, 'exit')
  onTestFinished(async () => {
    child.kill('SIGTERM')
    await ended
  })
  await Promise.race([ready.promise, ended])
  return { child, ended, output: () => output }
}

async function onlineNodes(cwd: string): Promise<number> {
  const { stdout } = await claw(['node', 'ls', '-o', 'json'], { cwd })
  const { items } = JSON.parse(stdout) as { items: { status: string }[] }
  return items.filter(({ status }) => status === 'online').length
}

function gatewayOf(cwd: string): { gateway: ProcessIdentity; workerd: ProcessIdentity } {
  const run = readRunFile(join(cwd, '.claw'))
  if (run?.workerd === undefined) throw new Error('no gateway runs there')
  const { gateway, workerd } = run
  onTestFinished(() => endProcess(workerd))
  return { gateway, workerd }
}

test('serves, joins this machine, says how to go on, and joins it once only', async () => {
  const cwd = temporaryDirectory()
  const port = await unusedPort()
  const first = await start(cwd, port)
  expect(first.output()).toMatch(new RegExp(`The gateway serves https://\\S+:${port}, .*without mesh`))
  expect(first.output()).toMatch(/npx clawnode join --gateway https:\/\/\S+ --token-file join\.token/)
  expect(first.output()).toContain(join(cwd, '.claw/admin.token'))
  await expect.poll(() => onlineNodes(cwd), { timeout: 20_000 }).toBe(1)
  expect(existsSync(join(cwd, '.claw/join.token'))).toBe(false)

  const { gateway, workerd } = gatewayOf(cwd)
  first.child.kill('SIGINT')
  expect(await first.ended).toEqual([0, null])
  expect([isAlive(gateway), isAlive(workerd)]).toEqual([false, false])

  const second = await start(cwd, port)
  await expect.poll(() => onlineNodes(cwd), { timeout: 20_000 }).toBe(1)
  const { stdout } = await claw(['token', 'ls', '-o', 'json'], { cwd })
  expect(JSON.parse(stdout)).toMatchObject({ items: [{ used: 1, uses: 1 }] })
  second.child.kill('SIGTERM')
  expect(await second.ended).toEqual([0, null])
})

test('ends, with what it started, when the gateway does', async () => {
  const cwd = temporaryDirectory()
  const { ended } = await start(cwd, await unusedPort())
  const { gateway } = gatewayOf(cwd)
  process.kill(gateway.pid, 'SIGKILL')
  expect(await ended).toEqual([1, null])
  expect(identify(gateway.pid)).toBeUndefined()
})
