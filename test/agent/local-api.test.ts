/** One agent on a directory, also when several begin in the same moment where another was killed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, linkSync, readdirSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'
import { LocalApi } from '../../agent/local-api.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const never = new Promise<never>(() => {})

/** The socket that a killed process leaves. */
async function staleSocket(): Promise<string> {
  const path = join(temporaryDirectory(), 's')
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
  return path
}

test('of agents that begin together one runs, and its socket stays', async () => {
  const stale = await staleSocket()
  for (let round = 0; round < 5; round++) {
    const directory = temporaryDirectory()
    chmodSync(directory, 0o700)
    linkSync(stale, join(directory, 'agent.sock'))
    const begun = await Promise.allSettled([1, 2, 3].map(() => LocalApi.listen(directory, never)))
    const [api, ...others] = begun.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    for (const other of others) await other.close()
    expect(others).toEqual([])
    expect(begun.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []))).toEqual([
      'E_ALREADY_RUNNING',
      'E_ALREADY_RUNNING',
    ])
    expect(existsSync(join(directory, 'agent.sock'))).toBe(true)
    await api?.close()
  }
})

test('of processes too, and a killed one is in nobody’s way', async () => {
  const directory = temporaryDirectory()
  const module = JSON.stringify(join(import.meta.dirname, '../../agent/local-api.ts'))
  const script = `
    import { LocalApi } from ${module}
    globalThis.api = await LocalApi.listen(${JSON.stringify(directory)}, new Promise(() => {}))
      .catch((error) => error.code)
    console.log(typeof api === 'string' ? api : 'runs')`
  const begin = async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    for await (const said of createInterface({ input: child.stdout })) return { child, said }
    throw new Error('it said nothing')
  }
  for (let round = 0; round < 5; round++) {
    const begun = await Promise.all([begin(), begin(), begin()])
    expect(begun.map(({ said }) => said).sort()).toEqual(['E_ALREADY_RUNNING', 'E_ALREADY_RUNNING', 'runs'])
    const winner = begun.find(({ said }) => said === 'runs')
    winner?.child.kill('SIGKILL')
    await Promise.all(begun.map(({ child }) => child.exitCode ?? child.signalCode ?? once(child, 'exit')))
  }
})

test('the lock is a file of ours, and there is nothing in it', async () => {
  const directory = temporaryDirectory()
  const api = await LocalApi.listen(directory, never)
  expect(readdirSync(directory).sort()).toEqual(['agent.lock', 'agent.sock'])
  const { mode, size } = statSync(join(directory, 'agent.lock'))
  expect([mode & 0o777, size]).toEqual([0o600, 0])
  await api.close()
  const again = await LocalApi.listen(directory, never)
  await again.close()
  expect(readdirSync(directory)).toEqual(['agent.lock'])
})

test('a request that names no path is answered, and ends nobody', async () => {
  const directory = temporaryDirectory()
  chmodSync(directory, 0o700)
  const api = await LocalApi.listen(directory, never)
  const ask = (path: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      const asked = request({ socketPath: join(directory, 'agent.sock'), path }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      asked.on('error', reject).end()
    })
  for (const path of ['//', 'http://[', '/nothing']) expect([path, await ask(path)]).toEqual([path, 404])
  await api.close()
})
