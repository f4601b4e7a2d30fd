/** L-2: a session's whole life, good and bad, with real programs; what both sides wrote of it shows eight characters of an id and no content. */
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AdminClient } from '../../cli/admin-client.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { MAX_FRAME_BYTES } from '../../protocol/limits.ts'
import { describeGateway, RawNode } from '../fuzz/raw-node.ts'
import { startGateway } from '../support/claw.ts'
import { Clawnode, clawnode } from '../support/clawnode.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const CANARY = 'canary-9b2c'
/** A request id is one, too, and is meant to be found; nothing else is shown whole. */
const WHOLE_ID = /(?<!req_)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/i

test('a session from its first frame to its last leaves no whole id in any log, at any level', async () => {
  const home = temporaryDirectory()
  const running = await startGateway(join(home, 'gateway'))
  let gatewayLog = ''
  running.process.stderr?.on('data', (chunk) => {
    gatewayLog += chunk
  })
  const connection = new GatewayConnection({
    url: parseGatewayUrl(running.url),
    ca: readFileSync(running.ca, 'utf8'),
  })
  const admin = new AdminClient(connection, readFileSync(running.adminTokenFile, 'utf8').trim())
  const tokenFile = join(home, 'join.token')
  writeFileSync(tokenFile, (await admin.createToken({ uses: 9 })).token, { mode: 0o600 })

  const directory = join(home, 'node')
  const joined = await clawnode([
    'join',
    '--gateway',
    running.url,
    '--token-file',
    tokenFile,
    '--name',
    'logged',
    '--dir',
    directory,
  ])
  expect(joined).toMatchObject({ code: 0 })
  const agent = new Clawnode(['run', '--no-mesh', '--dir', directory], {
    env: { CLAWNODE_LOG_LEVEL: 'debug' },
  })
  await agent.prints('session up')

  // A peer that does everything wrong.
  const gateway = describeGateway(connection, readFileSync(join(home, 'gateway/server.pem'), 'utf8'))
  const raw = await RawNode.make(gateway, 'wrong')
  await raw.enrol(readFileSync(tokenFile, 'utf8'))
  for (const bad of [
    CANARY,
    `{"type":"${CANARY}"}`,
    `{"type":"telemetry","n":1,"telemetry":"${CANARY}"}`,
    `{"type":"mesh_resync","private_key":"${CANARY}"}`,
    `{"type":"mesh_resync","at":"${CANARY.repeat(MAX_FRAME_BYTES / 10)}"}`,
    Buffer.from(CANARY),
  ]) {
    const { socket, register } = await raw.dial()
    socket.on('error', () => {})
    await once(socket, 'open')
    socket.send(JSON.stringify(register))
    for (let i = 0; i < 3; i++) socket.send(bad)
    await once(socket, 'close')
  }
  const { socket, register } = await raw.dial()
  await once(socket, 'open')
  socket.send(JSON.stringify({ ...register, channel: CANARY }))
  await once(socket, 'close')

  // The good one again: as it was cut by its owner, and as a gateway that goes away leaves it.
  await admin.removeNode('wrong')
  await running.end('SIGTERM')
  await agent.prints('E_SESSION')
  agent.child.kill('SIGTERM')
  await agent.ended
  connection.close()

  const agentLog = agent.stderrLines.join('\n')
  expect(agentLog).toMatch(/"session":"[A-Za-z0-9_-]{8}…"/)
  for (const [side, log] of [
    ['gateway', gatewayLog],
    ['agent', agentLog],
  ] as const) {
    expect([side, WHOLE_ID.exec(log)]).toEqual([side, null])
    expect([side, log.includes(CANARY)]).toEqual([side, false])
    expect([side, /eyJ[A-Za-z0-9_-]{20}/.exec(log)]).toEqual([side, null])
  }
})
