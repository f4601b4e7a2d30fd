/**
 * A small fleet lives, and fails where it can; afterwards no secret of it is in any log, error, answer, database or argument list, and in no
 * file but its own. Every secret is the real one, made at random by the program that needs it.
 */
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { generateApiToken } from '../../crypto/api-token.ts'
import { eventually } from '../../demo/eventually.ts'
import { Lab } from '../../demo/lab.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { describeGateway, RawNode } from '../fuzz/raw-node.ts'
import { claw, startGateway } from '../support/claw.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import {
  ArgumentWatch,
  filesBelow,
  formsOf,
  foundIn,
  keyFileForms,
  type Needles,
  privateKeyForms,
  textForms,
  tokenForms,
} from './canary-scan.ts'

const GATEWAY_SECRETS = ['admin.token', 'keyring.json', 'gateway.jwk', 'ca.key', 'server.key']
const NODE_SECRETS = ['identity.key', 'wireguard.key', 'sealing.key']

function gatewayNeedles(directory: string): Needles {
  const { keys } = JSON.parse(readFileSync(join(directory, 'keyring.json'), 'utf8')) as {
    readonly keys: Readonly<Record<string, string>>
  }
  return {
    'admin token': textForms(readFileSync(join(directory, 'admin.token'), 'utf8').trim()),
    'master key': formsOf(Buffer.from(keys['1'] ?? '', 'base64')),
    'signing key': privateKeyForms(join(directory, 'gateway.jwk')),
    'key of the CA': privateKeyForms(join(directory, 'ca.key')),
    'key of the server': privateKeyForms(join(directory, 'server.key')),
  }
}

const nodeNeedles = (directory: string): Needles =>
  Object.fromEntries(
    NODE_SECRETS.map((name) => [`${name} of ${directory}`, keyFileForms(join(directory, name))]),
  )

/** Every file below holds only what is its own: the known ones are private, and the others hold nothing. */
function checkFiles(directory: string, own: readonly string[], needles: Needles): void {
  for (const path of own) expect([path, statSync(path).mode & 0o777]).toEqual([path, 0o600])
  const found = filesBelow(directory)
    .filter((path) => !own.includes(path))
    .map((path) => [path, foundIn(readFileSync(path), needles)] as const)
    .filter(([, names]) => names.length > 0)
  expect(found).toEqual([])
  for (const path of own) expect([path, foundIn(readFileSync(path), needles).length]).toEqual([path, 1])
}

it('nothing that was secret is anywhere it should not be', async () => {
  const watch = new ArgumentWatch()
  onTestFinished(() => watch.stop())
  const home = temporaryDirectory()
  const gatewayHome = join(home, 'gateway')
  const running = await startGateway(gatewayHome)
  const printed: string[] = [JSON.stringify(running)]
  const capture = (chunk: unknown) => void printed.push(String(chunk))
  running.process.stderr?.on('data', capture)
  running.process.stdout?.on('data', capture)
  // With this a program shows all it knows of a failure.
  const debug = { CLAW_DEBUG: '1', CLAWNODE_LOG_LEVEL: 'debug' }
  const asOwner = async (args: readonly string[], input: string | Uint8Array = '') => {
    const result = await claw(args, { env: { ...running.env, ...debug }, input })
    printed.push(result.stderr)
    return result
  }
  const asNode = async (args: readonly string[], input = '') => {
    const result = await clawnode(args, { env: debug, input })
    printed.push(result.stdout, result.stderr)
    return result
  }

  const token = (await asOwner(['token', 'create', '--uses', '5'])).stdout.trim()
  const tokenFile = join(home, 'join.token')
  writeFileSync(tokenFile, token, { mode: 0o600 })
  const value = `värde ${randomBytes(24).toString('base64')}`
  const denied = randomBytes(24).toString('base64url')
  expect((await asOwner(['secret', 'set', 'open.one', '--allow-node', 'a'], value)).code).not.toBe(0)

  const directory = join(home, 'node')
  const join_ = ['join', '--gateway', running.url, '--ca', running.ca, '--dir', directory, '--name', 'a']
  const wrongToken = `${token.slice(0, -8)}AAAAAAAA`
  const wrongTokenFile = join(home, 'wrong.token')
  writeFileSync(wrongTokenFile, wrongToken, { mode: 0o600 })
  expect((await asNode([...join_, '--token-file', wrongTokenFile])).code).not.toBe(0)
  expect((await asNode([...join_, '--token-file', tokenFile])).code).toBe(0)
  const agent = new Clawnode(['run', '--no-mesh', '--dir', directory], { env: debug })
  await agent.prints('session up')

  expect((await asOwner(['secret', 'set', 'open.one', '--allow-node', 'a'], value)).code).toBe(0)
  expect((await asOwner(['secret', 'set', 'shut.one'], denied)).code).toBe(0)
  const hash = 'printf %s "$V" | sha256sum'
  const read = await asNode(['exec', '--dir', directory, '--secret', 'V=open.one', '--', 'sh', '-c', hash])
  expect(read.stdout).toContain(createHash('sha256').update(value).digest('hex'))
  const refused = await asNode(['exec', '--dir', directory, '--secret', 'V=shut.one', '--', 'sh', '-c', hash])
  expect(refused.stderr).toContain('E_SECRET_DENIED')
  expect(
    (await asNode(['exec', '--dir', directory, '--timeout', '0', '--secret', 'V=no.such', '--', 'true']))
      .code,
  ).toBe(125)
  await asNode(['status', '--dir', directory, '-o', 'json'])
  await asNode(['check-config', '--dir', directory])

  const wrongAdmin = join(home, 'wrong-admin.token')
  writeFileSync(wrongAdmin, generateApiToken('claw'), { mode: 0o600 })
  const stranger = await claw(['node', 'ls', '--token-file', wrongAdmin], {
    env: { ...running.env, ...debug },
  })
  expect(stranger.stderr).toContain('E_AUTH_INVALID')
  printed.push(stranger.stdout, stranger.stderr)
  for (const args of [
    ['node', 'ls', '-o', 'json'],
    ['token', 'ls', '-o', 'json'],
    ['secret', 'ls', '-o', 'json'],
    ['audit', 'ls', '-o', 'json'],
    ['secret', 'get', 'no.such'],
    ['node', 'show', 'a', '-o', 'json'],
  ])
    printed.push((await asOwner(args)).stdout)
  expect((await asOwner(['secret', 'get', 'open.one'])).stdout).toBe(value)

  const answers = await readAnswers(running, gatewayHome, token)
  agent.child.kill('SIGTERM')
  await agent.ended
  printed.push(agent.stdout, ...agent.stderrLines)
  await running.end('SIGTERM')
  await watch.stop()

  const secrets: Needles = {
    ...gatewayNeedles(gatewayHome),
    ...nodeNeedles(directory),
    'secret value': textForms(value),
    'denied value': textForms(denied),
    'join token': tokenForms(token),
    'wrong join token': textForms(wrongToken),
    'wrong admin token': textForms(readFileSync(wrongAdmin, 'utf8')),
  }
  // The search itself works: it finds what is there.
  expect(foundIn(`x${value}y`, secrets)).toEqual(['secret value'])
  expect(foundIn(Buffer.from(`{"v":"${value}"}`).toString('base64'), secrets)).toEqual(['secret value'])
  expect(foundIn(printed.join('\n'), { name: [Buffer.from('session up')] })).toEqual(['name'])
  expect([...watch.seen].some((line) => line.includes('--no-mesh'))).toBe(true)

  expect(foundIn(printed.join('\n'), secrets)).toEqual([])
  expect(foundIn([...watch.seen].join('\n'), secrets)).toEqual([])
  expect(foundIn(answers.join('\n'), secrets)).toEqual([])
  checkFiles(
    home,
    [
      ...GATEWAY_SECRETS.map((name) => join(gatewayHome, name)),
      ...NODE_SECRETS.map((name) => join(directory, name)),
      tokenFile,
      wrongTokenFile,
      wrongAdmin,
    ],
    secrets,
  )
})

/** Every kind of answer but the one that hands out a join token, which is made to. */
async function readAnswers(
  { url, ca, adminTokenFile }: Awaited<ReturnType<typeof startGateway>>,
  gatewayHome: string,
  token: string,
): Promise<string[]> {
  const connection = new GatewayConnection({ url: parseGatewayUrl(url), ca: readFileSync(ca, 'utf8') })
  const gateway = describeGateway(connection, readFileSync(join(gatewayHome, 'server.pem'), 'utf8'))
  const node = await RawNode.make(gateway, 'b')
  await node.enrol(token)
  const authorization = `Bearer ${readFileSync(adminTokenFile, 'utf8').trim()}`
  const body = JSON.stringify({ secrets: [{ name: 'shut.one' }] })
  const requests = [
    ...[
      '/v1/nodes',
      '/v1/tokens',
      '/v1/secrets',
      '/v1/audit?limit=1000',
      '/metrics',
      '/v1/nodes/a',
      '/v1/nodes/none',
    ].map((path) => ({ method: 'GET', path, headers: { authorization } })),
    { method: 'GET', path: '/v1/nodes', headers: { authorization: `Bearer ${token}` } },
    {
      method: 'POST',
      path: '/v1/enrol',
      headers: { authorization: `Bearer ${token}` },
      body: `{"request":"${token}"}`,
    },
    {
      method: 'POST',
      path: '/v1/node/secrets',
      headers: { authorization: await node.authorization('POST', '/v1/node/secrets', body) },
      body,
    },
  ]
  const answers: string[] = []
  for (const request of requests) {
    const { headers, body: answer } = await connection.request(request)
    answers.push(JSON.stringify(headers), Buffer.from(answer).toString('latin1'))
  }
  connection.close()
  return answers
}

describe.skipIf(!canMakeNamespaces)('with a mesh (needs root and /dev/net/tun)', () => {
  it('no key of it is in an argument list, a log or a file that is not its own', async () => {
    const watch = new ArgumentWatch()
    const lab = new Lab()
    onTestFinished(async () => {
      await watch.stop()
      await lab.destroy()
    })
    await lab.startGateway()
    const created = await lab.clawOutput(['token', 'create', '--uses', '2', '-o', 'json'])
    const { token } = JSON.parse(created) as { token: string }
    const tokenFile = lab.file('join.token', token)
    const machines = [lab.addMachine('one'), lab.addMachine('two')]
    for (const machine of machines) {
      await machine.join(tokenFile)
      machine.start()
    }
    const [one, two] = machines
    if (one === undefined || two === undefined) throw new Error('no machines')
    const { ipv4 } = (
      await eventually(
        30_000,
        () => two.status(),
        ({ session }) => session === 'connected',
      )
    ).seen
    await eventually(
      30_000,
      () => one.ping(ipv4, 1),
      ({ lost }) => lost === 0,
    )
    const outputs = [
      (await one.clawnode(['status', '--dir', one.directory, '-o', 'json'])).stdout.toString(),
      (await lab.claw(['node', 'ls', '-o', 'json'])).stdout.toString(),
    ]
    for (const machine of machines) await machine.end('SIGTERM')
    await lab.stopGateway()
    await watch.stop()

    const gatewayHome = join(lab.directory, 'gateway')
    const secrets: Needles = {
      ...gatewayNeedles(gatewayHome),
      ...nodeNeedles(one.directory),
      ...nodeNeedles(two.directory),
      'join token': tokenForms(token),
    }
    expect([...watch.seen].some((line) => line.includes('wireguard-go'))).toBe(true)
    expect(foundIn([...watch.seen].join('\n'), secrets)).toEqual([])
    expect(foundIn(outputs.join('\n'), secrets)).toEqual([])
    checkFiles(
      lab.directory,
      [
        ...GATEWAY_SECRETS.map((name) => join(gatewayHome, name)),
        ...machines.flatMap(({ directory }) => NODE_SECRETS.map((name) => join(directory, name))),
        tokenFile,
      ],
      secrets,
    )
  })
})
