/** Secrets on a node of a real gateway: a job that follows its owner's changes within moments, and starts while the gateway is away. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { startGateway } from '../support/claw.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import { memoryDirectory } from '../support/memory-directory.ts'
import { ownGateway } from '../support/own-gateway.ts'

const gateway = ownGateway()
const { run } = gateway
const node = join(gateway.home, 'node')

async function owner(args: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await run(args, input)
  if (code !== 0) throw new Error(stderr)
  return stdout
}

const exec = (...args: string[]) => ['exec', '--dir', node, ...args]
const SAY = `console.log('has', process.env.P)
  process.on('SIGTERM', () => process.exit(9)); setTimeout(() => process.exit(99), 120_000)`
const JOB = ['--', process.execPath, '-e', SAY]
const SHOW = ['--', 'sh', '-c', 'printf "%s" "$P"']
const kept = () => {
  const path = join(node, 'secrets-cache')
  return existsSync(path) ? readdirSync(path).length - 1 : 0
}

/** Requests that the gateway has had over sessions. */
async function bySession(): Promise<number> {
  const { url, ca, adminTokenFile } = gateway.running
  const connection = new GatewayConnection({ url: parseGatewayUrl(url), ca: readFileSync(ca, 'utf8') })
  const authorization = `Bearer ${readFileSync(adminTokenFile, 'utf8').trim()}`
  const asked = { method: 'GET', path: '/metrics', headers: { authorization } }
  const { body } = await connection.request(asked).finally(() => connection.close())
  return Number(/^claw_gateway_requests_by_session_total (\d+)$/m.exec(Buffer.from(body).toString())?.[1])
}

async function startAgent(): Promise<Clawnode> {
  const agent = new Clawnode(['run', '--dir', node, '--no-mesh'])
  await agent.prints('session up')
  return agent
}

// First, because the others are its jobs.
test('a node joins', async () => {
  const token = join(gateway.home, 'join.token')
  writeFileSync(token, await owner(['token', 'create', '--tag', 'gpu']), { mode: 0o600 })
  const { url, ca } = gateway.running
  const where = ['--gateway', url, '--ca', ca, '--dir', node, '--name', 'alpha', '--token-file', token]
  expect(await clawnode(['join', ...where])).toMatchObject({ code: 0 })
})

describe('a command’s request', () => {
  test('goes over the session of the agent, and without one, or for more than a frame, over HTTP', async () => {
    await owner(['secret', 'set', 'by/session', '--allow-tag', 'gpu'], 'small')
    await owner(['secret', 'set', 'by/http', '--allow-tag', 'gpu'], 'x'.repeat(300_000))
    const size = ['--', 'sh', '-c', 'printf "%s " "$P"; wc -c < "$L"']
    const both = exec('--secret', 'P=by/session', '--file', 'L=by/http', ...size)
    const before = await bySession()
    expect(await clawnode(both)).toMatchObject({ code: 0, stdout: 'small 300000\n' })
    expect(await bySession()).toBe(before)
    const agent = await startAgent()
    expect(await clawnode(exec('--secret', 'P=by/session', ...SHOW))).toMatchObject({ stdout: 'small' })
    expect(await bySession()).toBe(before + 1)
    expect(await clawnode(both)).toMatchObject({ code: 0, stdout: 'small 300000\n' })
    expect(await bySession()).toBe(before + 2)
    agent.child.kill('SIGTERM')
    await agent.ended
    expect(await clawnode(both)).toMatchObject({ code: 0, stdout: 'small 300000\n' })
  })
})

describe('a change by the owner', () => {
  test('restarts the job with the new value, and the one before stays readable while its overlap lasts', async () => {
    await owner(['secret', 'set', 'db/password', '--allow-tag', 'gpu'], 'first')
    await startAgent()
    const job = new Clawnode(exec('--secret', 'P=db/password', ...JOB))
    await job.prints('has first')
    await owner(['secret', 'rotate', 'db/password', '--overlap', '1h'], 'second')
    await job.prints('has second')
    expect(job.stderrLines.join('\n')).toContain('db/password (version 2)')
    const both = ['--secret', 'OLD=db/password@1', '--secret', 'NEW=db/password']
    const read = await clawnode(exec(...both, '--', 'sh', '-c', 'echo "$OLD $NEW"'))
    expect(read.stdout).toBe('first second\n')
    await owner(['secret', 'set', 'db/password'], 'third')
    await job.prints('has third')
    const ended = await clawnode(exec('--secret', 'P=db/password@2', ...SHOW))
    expect(ended).toMatchObject({ code: 125, stderr: expect.stringContaining('E_SECRET_VERSION_ENDED') })
    job.child.kill('SIGTERM')
    expect(await job.ended).toEqual({ code: 9, signal: null })
  })

  test('renders a file anew, and gives a job its files anew before the signal', async () => {
    await owner(['secret', 'set', 'web/key', '--allow-node', 'alpha'], 'one')
    await startAgent()
    const template = join(gateway.home, 'web.tmpl')
    writeFileSync(template, 'key = {{ secret "web/key" | json }}')
    const out = join(gateway.home, 'web.conf')
    const rendering = new Clawnode([
      'render',
      '--dir',
      node,
      '--watch',
      '--exec',
      `cat ${out}; echo`,
      template,
      out,
    ])
    const script = `const fs = require('fs'); const say = () => console.log('file', fs.readFileSync(process.env.F, 'utf8'))
      process.on('SIGHUP', say); say(); setTimeout(() => process.exit(99), 120_000)`
    const flags = ['--file', 'F=web/key', '--on-change', 'signal:SIGHUP']
    const job = new Clawnode(exec(...flags, '--', process.execPath, '-e', script), {
      env: { XDG_RUNTIME_DIR: memoryDirectory() },
    })
    await Promise.all([rendering.prints('key = "one"'), job.prints('file one')])
    await owner(['secret', 'set', 'web/key'], 'two')
    await Promise.all([rendering.prints('key = "two"'), job.prints('file two')])
  })

  test('that takes the right to read away ends what the node keeps', async () => {
    await owner(['secret', 'set', 'short/lived', '--allow-tag', 'gpu'], 'value')
    expect(await clawnode(exec('--secret', 'P=short/lived', ...SHOW))).toMatchObject({
      code: 0,
      stdout: 'value',
    })
    const before = kept()
    await owner(['secret', 'deny', 'short/lived', '--tag', 'gpu'])
    const denied = await clawnode(exec('--secret', 'P=short/lived', ...SHOW))
    expect(denied).toMatchObject({ code: 125, stderr: expect.stringContaining('E_SECRET_DENY_RULE') })
    expect(kept()).toBe(before - 1)
  })

  test('for another workload is not for this one', async () => {
    await owner(['secret', 'set', 'of/trainer'], 'value')
    await owner(['secret', 'allow', 'of/trainer', '--tag', 'gpu', '--workload', 'trainer'])
    const read = (...flags: string[]) => clawnode(exec(...flags, '--secret', 'P=of/trainer', ...SHOW))
    expect(await read()).toMatchObject({ code: 125, stderr: expect.stringContaining('E_SECRET_WORKLOAD') })
    expect(await read('--workload', 'trainer')).toMatchObject({ code: 0, stdout: 'value' })
  })

  test('that makes the secret lets a job begin that waits for it', async () => {
    const job = new Clawnode(exec('--secret', 'P=not/yet', ...SHOW))
    await job.prints('E_SECRET_NOT_FOUND')
    await owner(['secret', 'set', 'not/yet', '--allow-tag', 'gpu'], 'there')
    expect(await job.ended).toEqual({ code: 0, signal: null })
    expect(job.stdout).toBe('there')
  })
})

// Last, because it ends the gateway of the others.
test('a job starts while the gateway is away, and hears of what has changed meanwhile when it is back', async () => {
  await owner(['secret', 'set', 'boot/key', '--allow-tag', 'gpu'], 'kept')
  expect(await clawnode(exec('--secret', 'P=boot/key', ...SHOW))).toMatchObject({ code: 0, stdout: 'kept' })
  const agent = await startAgent()
  await gateway.running.end('SIGTERM')
  const job = new Clawnode(exec('--secret', 'P=boot/key', ...JOB))
  await job.prints('has kept')
  expect(job.stderrLines.join('\n')).toContain('using the secrets that are kept on this node')
  await startGateway(join(gateway.home, '.claw'), '--port', new URL(gateway.running.url).port)
  await agent.prints('session up', 2)
  await owner(['secret', 'set', 'boot/key'], 'changed')
  await job.prints('has changed')
})
