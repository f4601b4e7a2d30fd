/** The runtime of `claw up` around a Worker that tells what reaches it. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { CoreHeaders, CorePaths } from 'miniflare'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { type EmbeddedGateway, startGateway } from '../../cli/up/embedded-gateway.ts'
import { identify, type ProcessIdentity } from '../../cli/up/processes.ts'
import { keepTlsFiles, type TlsFiles } from '../../cli/up/tls-files.ts'
import { readWorkerConfig } from '../../cli/up/worker-config.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { unusedPort } from '../support/claw.ts'
import { openTemporaryDirectory } from '../support/temporary-directory.ts'

/** The shape of worker/embedded.ts, with the classes that wrangler.toml names. */
const TELLTALE = `
import { DurableObject } from 'cloudflare:workers'
${Object.keys(readWorkerConfig().exports)
  .map((name) => `export class ${name} extends DurableObject {}`)
  .join('\n')}
let sweeps = 0
let strangers = 0
export const publicSocket = {
  fetch: ({ url, cf, headers }, env) =>
    Response.json({ url, cf, headers: Object.fromEntries(headers), sweeps, strangers, env }),
}
export default {
  fetch({ url, headers }, { KEEPER_KEY }) {
    if (headers.get('claw-keeper') !== KEEPER_KEY) strangers++
    else if (url.endsWith('/sweep')) sweeps++
    return new Response(null, { status: 204 })
  },
}
`

interface Told {
  readonly url: string
  readonly cf: { readonly clientIp: string }
  readonly headers: Readonly<Record<string, string>>
  readonly sweeps: number
  readonly strangers: number
  readonly env: Readonly<Record<string, unknown>>
}

let directory: { readonly path: string; remove(): void }
let tls: TlsFiles
let port: number
let gateway: EmbeddedGateway
let connection: GatewayConnection
const workerds: ProcessIdentity[] = []

beforeAll(async () => {
  // Only this one: the gateway's minute, which the tests end when they like.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  directory = openTemporaryDirectory()
  const stateDirectory = join(directory.path, 'state')
  mkdirSync(stateDirectory)
  tls = await keepTlsFiles(directory.path, ['localhost', '127.0.0.1'], { fresh: true })
  port = await unusedPort()
  const { key, chain } = tls
  gateway = await startGateway({
    host: '127.0.0.1',
    port,
    tls: { key, chain },
    bindings: { EDGE: 'embedded', MASTER_KEYRING: 'first' },
    stateDirectory,
    log: () => {},
    onWorkerd: (workerd) => workerds.push(workerd),
    script: TELLTALE,
  })
  connection = new GatewayConnection({
    url: parseGatewayUrl(`https://localhost:${port}`),
    ca: tls.ca.toString(),
  })
})
afterAll(async () => {
  connection?.close()
  await gateway?.stop()
  directory?.remove()
  vi.useRealTimers()
})
afterEach(() => connection.close())

async function tell(path = '/', headers: Readonly<Record<string, string>> = {}): Promise<Told> {
  const { status, body } = await connection.request({ method: 'GET', path, headers })
  expect(status).toBe(200)
  return JSON.parse(Buffer.from(body).toString('utf8')) as Told
}

test('a request is what the socket says it is', async () => {
  const spoken = Object.fromEntries(Object.values(CoreHeaders).map((name) => [name.toLowerCase(), 'http']))
  const told = await tell('/a/../b?c=d', {
    ...spoken,
    'x-forwarded-proto': 'http',
    'cf-connecting-ip': '::1',
  })
  expect(told.url).toBe(`https://localhost:${port}/b?c=d`)
  expect(told.cf).toEqual({ clientIp: expect.stringMatching(/^127\.0\.0\.1:\d+$/) })
  // Nothing of the runtime's own was taken from it, nothing added, and Cloudflare's word is not the client's to speak.
  expect(told.headers).toEqual({
    ...spoken,
    'x-forwarded-proto': 'http',
    host: `localhost:${port}`,
    connection: 'keep-alive',
  })
})

test('the Worker holds no key of the socket', async () => {
  const { env } = await tell()
  expect(Object.keys(env)).not.toContain('PUBLIC_SOCKET')
  expect(JSON.stringify(env)).not.toContain('PRIVATE KEY')
})

test("every path is the Worker's, and nobody outside runs the sweep", async () => {
  for (const path of [...Object.values(CorePaths), '/cdn-cgi/handler/scheduled', '/__scheduled'])
    expect((await tell(`${path}?cron=*+*+*+*+*`)).url).toBe(`https://localhost:${port}${path}?cron=*+*+*+*+*`)
  expect(await tell()).toMatchObject({ sweeps: 0, strangers: 0 })
})

test('the sweep runs every minute', async () => {
  const { sweeps } = await tell()
  vi.advanceTimersByTime(60_000)
  await vi.waitFor(async () => expect((await tell()).sweeps).toBe(sweeps + 1), 10_000)
  vi.advanceTimersByTime(60_000)
  await vi.waitFor(async () => expect((await tell()).sweeps).toBe(sweeps + 2), 10_000)
})

test('a reload serves the new settings at the same address, from another workerd, and sweeps on', async () => {
  const before = workerds.at(-1)
  await gateway.reload({ tls, bindings: { EDGE: 'embedded', MASTER_KEYRING: 'second' } })
  expect((await tell()).env).toMatchObject({ MASTER_KEYRING: 'second' })
  const after = workerds.at(-1)
  expect(after?.pid).not.toBe(before?.pid)
  expect(identify(after?.pid ?? 0)).toEqual(after)
  expect(identify(before?.pid ?? 0)).toBeUndefined()
  vi.advanceTimersByTime(60_000)
  await vi.waitFor(async () => expect((await tell()).sweeps).toBe(1), 10_000)
})

test('what workerd does not start with is given up, and it serves as before', async () => {
  const bindings = { EDGE: 'embedded', MASTER_KEYRING: 'never' }
  const damaged = { key: tls.key.slice(0, 80), chain: tls.chain }
  await expect(gateway.reload({ tls: damaged, bindings })).rejects.toMatchObject({ code: 'E_RELOAD_FAILED' })
  expect((await tell()).env).toMatchObject({ MASTER_KEYRING: 'second' })
})

test('a workerd that dies is replaced, with what it had', async () => {
  const before = workerds.length
  process.kill(workerds.at(-1)?.pid ?? 0, 'SIGKILL')
  await vi.waitFor(() => expect(workerds.length).toBe(before + 1), 10_000)
  expect((await tell()).env).toMatchObject({ MASTER_KEYRING: 'second' })
})
