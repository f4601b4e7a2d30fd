/** Issue 3: somebody in between who has a certificate of the very CA that the node trusts, against the real gateway and the real agent. */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readNodeState } from '../../agent/node-state.ts'
import { issueServerCertificate } from '../../cli/up/certificates.ts'
import { claw, startGateway } from '../support/claw.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import { FakeGateway } from '../support/fake-gateway.ts'
import { startForwarder, startInterceptor } from '../support/interceptor.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

/** All of 127.0.0.0/8 is this machine. */
const HOST = '127.0.0.2'

/** A certificate for the interceptor's address, made with the CA's own key. */
async function stolenCertificate(gatewayDirectory: string) {
  const ca = {
    certificate: readFileSync(join(gatewayDirectory, 'ca.pem'), 'utf8'),
    key: createPrivateKey(readFileSync(join(gatewayDirectory, 'ca.key'))),
  }
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const cert = await issueServerCertificate(ca, key, [HOST], new Date())
  return { key: key.export({ type: 'pkcs8', format: 'pem' }).toString(), cert, ca: ca.certificate }
}

/** Runs the agent until its log has this, and asks it for its status then. */
async function runUntil(directory: string, text: string): Promise<string> {
  const agent = new Clawnode(['run', '--dir', directory, '--no-mesh'])
  await agent.prints(text)
  const { stdout } = await clawnode(['status', '--dir', directory, '-o', 'json'])
  agent.child.kill('SIGTERM')
  await once(agent.child, 'close')
  return stdout
}

test('a CA-valid certificate in between is found out by the gateway’s key and by what the node saw', async () => {
  const home = temporaryDirectory()
  const gatewayDirectory = join(home, 'gateway')
  const directory = join(home, 'node')
  const gateway = await startGateway(gatewayDirectory, '--name', HOST)
  const port = Number(new URL(gateway.url).port)
  const at = { host: HOST, port }
  const real = { host: '127.0.0.1', port }
  const credentials = await stolenCertificate(gatewayDirectory)

  {
    await using _router = await startForwarder(at, real)
    const { stdout: token } = await claw(['token', 'create'], { env: gateway.env })
    const url = `https://${HOST}:${port}`
    const args = ['join', '--gateway', url, '--token-file', '-', '--dir', directory, '--name', 'node-a']
    expect(await clawnode(args, { input: token })).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(await runUntil(directory, 'session up'))).toMatchObject({ session: 'connected' })
  }

  // It relays every byte faithfully, and reads them all.
  {
    await using interceptor = await startInterceptor(at, real, credentials)
    const status = JSON.parse(await runUntil(directory, '"code":"E_CHANNEL","why"'))
    expect(status).toMatchObject({
      session: expect.not.stringMatching(/^connected$/),
      problem: { code: 'E_CHANNEL' },
    })
    expect(interceptor.read()).toContain('GET /v1/session')
    const { stdout } = await claw(['audit', 'ls', '-o', 'json'], { env: gateway.env })
    const { items } = JSON.parse(stdout) as { items: { action: string; outcome: string }[] }
    expect(items).toContainEqual(
      expect.objectContaining({ action: 'session.intercepted', outcome: 'denied' }),
    )
  }

  // It answers in the gateway's place, knowing all that the gateway knows but its key.
  const { node, identity } = readNodeState(directory)
  const impostor = await FakeGateway.start(credentials, at)
  impostor.nodes.set(node.id, node)
  impostor.identities.set(node.id, identity)
  try {
    const confirmed = impostor.session().then(async (session) => {
      await impostor.confirm(session, await session.frame('register'))
      session.send({ type: 'mesh', epoch: 'evil', from: 0, to: 1 })
      return session
    })
    const status = JSON.parse(await runUntil(directory, '"code":"E_GATEWAY_KEY"'))
    expect(status).toMatchObject({ problem: { code: 'E_GATEWAY_KEY' }, peers: [] })
    expect((await confirmed).frames.map(({ type }) => type)).toEqual(['register'])

    // It says that the node was removed, and then that it is held: the agent runs on, and has no verdict to show.
    for (const code of ['E_NODE_REMOVED', 'E_NODE_QUARANTINED'] as const) {
      impostor.refusal = { code }
      const refused = JSON.parse(await runUntil(directory, '"code":"E_GATEWAY_KEY"'))
      expect(refused).toMatchObject({
        session: expect.stringMatching(/^(offline|connecting)$/),
        problem: { code: 'E_GATEWAY_KEY' },
      })
    }
    const args = ['exec', '--dir', directory, '--secret', 'S=s', '--', 'true']
    expect(await clawnode(args)).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('E_GATEWAY_KEY'),
    })
  } finally {
    await impostor.close()
  }

  // And the way is free again.
  await using _router = await startForwarder(at, real)
  expect(JSON.parse(await runUntil(directory, 'session up'))).toMatchObject({ session: 'connected' })
})
