/** The embedded gateway as its owner sees it: a process, a directory and a port. */
import { createHash, createPublicKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { expect, test } from 'vitest'
import { readRunFile, writeRunFile } from '../../cli/run-file.ts'
import { isAlive, type ProcessIdentity } from '../../cli/up/processes.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { parsePin } from '../../host/pins.ts'
import { claw, type RunningGateway, startGateway, unusedPort } from '../support/claw.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const FILES = ['admin.token', 'ca.key', 'ca.pem', 'gateway.jwk', 'keyring.json', 'server.key', 'server.pem']

const modeOf = (path: string): number => statSync(path).mode & 0o777

function contentOf(directory: string, files: readonly string[] = FILES): Record<string, string> {
  return Object.fromEntries(files.map((name) => [name, readFileSync(join(directory, name), 'utf8')]))
}

function workerdOf(directory: string): ProcessIdentity {
  const workerd = readRunFile(directory)?.workerd
  if (workerd === undefined) throw new Error('run.json names no workerd')
  return workerd
}

test('the first start makes everything, private, and serves over its own CA', async () => {
  const directory = temporaryDirectory()
  const home = join(directory, '.claw')
  const gateway = await startGateway(home)

  expect(modeOf(home)).toBe(0o700)
  expect(modeOf(join(home, 'state'))).toBe(0o700)
  expect(readdirSync(home).sort()).toEqual([...FILES, 'lock.db', 'run.json', 'state'].sort())
  for (const name of [...FILES, 'lock.db', 'run.json'])
    expect([name, modeOf(join(home, name))]).toEqual([name, 0o600])
  expect(gateway.pid).toBe(gateway.process.pid)
  expect(gateway.ca).toBe(join(home, 'ca.pem'))

  const ca = readFileSync(gateway.ca, 'utf8')
  const spki = createPublicKey(ca).export({ type: 'spki', format: 'der' })
  expect(gateway.fingerprint).toBe(createHash('sha256').update(spki).digest('hex'))
  const url = parseGatewayUrl(gateway.url)
  for (const origin of [gateway.url, `https://localhost:${url.port}`]) {
    const connection = new GatewayConnection({
      url: parseGatewayUrl(origin),
      ca,
      pins: [parsePin(gateway.fingerprint)],
    })
    expect((await connection.request({ method: 'GET', path: '/healthz' })).status).toBe(200)
    connection.close()
  }
})

test('databases are kept in the directory', async () => {
  const directory = temporaryDirectory()
  const home = join(directory, '.claw')
  const gateway = await startGateway(home)
  await claw(['secret', 'set', 'a'], { env: gateway.env, input: 'value' })
  const kinds = new Set(readdirSync(join(home, 'state')))
  expect([...kinds].sort()).toEqual(expect.arrayContaining(['d1', 'do', 'kv']))
})

test('SIGTERM ends it cleanly, workerd included', async () => {
  const directory = temporaryDirectory()
  const gateway = await startGateway(directory)
  const workerd = workerdOf(directory)
  expect(isAlive(workerd)).toBe(true)
  await gateway.end('SIGTERM')
  expect(gateway.process.exitCode).toBe(0)
  expect(isAlive(workerd)).toBe(false)
  expect(readdirSync(directory).sort()).toEqual([...FILES, 'lock.db', 'state'].sort())
})

test('after kill -9 the next start ends the workerd left behind, takes the port again and has lost nothing', async () => {
  const directory = temporaryDirectory()
  const port = String(await unusedPort())
  const killed = await startGateway(directory, '--port', port)
  await claw(['secret', 'set', 'kept'], { env: killed.env, input: 'still here' })
  const before = contentOf(directory)
  const orphan = workerdOf(directory)
  await killed.end('SIGKILL')
  expect(isAlive(orphan)).toBe(true)

  const gateway = await startGateway(directory, '--port', port)
  expect(isAlive(orphan)).toBe(false)
  expect(gateway.url).toBe(killed.url)
  expect(contentOf(directory)).toEqual(before)
  expect((await claw(['secret', 'get', 'kept'], { env: gateway.env })).stdout).toBe('still here')
})

test('a process that merely has the number of an earlier workerd is left alone', async () => {
  const directory = temporaryDirectory()
  await (await startGateway(directory)).end('SIGTERM')
  await startGateway(join(directory, 'other'))
  const stranger = workerdOf(join(directory, 'other'))
  const gone: ProcessIdentity = { pid: 2 ** 22 - 1, startTime: '1', executable: process.execPath }
  writeRunFile(directory, {
    gateway: gone,
    workerd: { ...stranger, startTime: '1' },
    ca: '',
    adminTokenFile: '',
  })
  await startGateway(directory)
  expect(isAlive(stranger)).toBe(true)
})

test('a second one on the same directory is refused, and does not disturb the first', async () => {
  const directory = temporaryDirectory()
  const gateway = await startGateway(directory)
  const second = await claw(['up', '--dir', directory, '--port', '0'])
  expect(second).toMatchObject({ code: 6, stderr: expect.stringContaining('E_ALREADY_RUNNING') })
  expect(second.stderr).toContain(gateway.url)
  expect((await claw(['node', 'ls'], { env: gateway.env })).code).toBe(0)
})

test('a port that another program holds is named', async () => {
  const directory = temporaryDirectory()
  const stranger = createServer().listen(0, '127.0.0.1')
  await once(stranger, 'listening')
  const address = stranger.address()
  const port = typeof address === 'object' ? String(address?.port) : ''
  const refused = await claw(['up', '--dir', directory, '--port', port])
  stranger.close()
  expect(refused).toMatchObject({ code: 6, stderr: expect.stringContaining('E_PORT_IN_USE') })
  expect(readRunFile(directory)).toBeUndefined()
})

test('wrong flags are all named before anything is touched', async () => {
  const directory = temporaryDirectory()
  const home = join(directory, '.claw')
  const flags = ['--port', '99999', '--host', 'nowhere', '--name', 'not a name', '--stun', 'nowhere']
  const refused = await claw(['up', '--dir', home, ...flags])
  expect(refused.code).toBe(2)
  for (const flag of ['--port', '--host', '--name', '--stun']) expect(refused.stderr).toContain(flag)
  expect(readdirSync(directory)).toEqual([])
})

test('a new name makes a new certificate of the same CA; the same names make none', async () => {
  const directory = temporaryDirectory()
  await (await startGateway(directory)).end('SIGTERM')
  const first = contentOf(directory)

  await (await startGateway(directory)).end('SIGTERM')
  expect(contentOf(directory)).toEqual(first)

  const named = await startGateway(directory, '--name', 'gw.example.com', '--name', 'fd00::7')
  expect(named.url).toMatch(/^https:\/\/gw\.example\.com:/)
  const leaf = await servedCertificate(named)
  await named.end('SIGTERM')
  expect(leaf.checkHost('gw.example.com')).toBeDefined()
  expect(leaf.checkIP('fd00::7')).toBeDefined()
  expect(leaf.checkIP('127.0.0.1')).toBeDefined()
  const { 'server.pem': chain, ...kept } = contentOf(directory)
  const { 'server.pem': firstChain, ...firstKept } = first
  expect(kept).toEqual(firstKept)
  expect(chain).not.toBe(firstChain)
})

test('a deleted admin token is made anew, and the old one is void', async () => {
  const directory = temporaryDirectory()
  const first = await startGateway(directory)
  const old = join(directory, 'old.token')
  await first.end('SIGTERM')
  renameSync(first.adminTokenFile, old)
  const gateway = await startGateway(directory)
  expect((await claw(['node', 'ls'], { env: gateway.env })).code).toBe(0)
  expect((await claw(['node', 'ls', '--token-file', old], { env: gateway.env })).code).toBe(4)
})

async function servedCertificate({ url, ca }: RunningGateway): Promise<X509Certificate> {
  const options = {
    host: '127.0.0.1',
    port: Number(new URL(url).port),
    ca: readFileSync(ca),
    servername: 'localhost',
  }
  const socket = connect(options)
  await once(socket, 'secureConnect')
  const { raw } = socket.getPeerCertificate()
  socket.destroy()
  return new X509Certificate(raw)
}
