import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../agent/clock.ts'
import { openJoinedNode } from '../../agent/joined-node.ts'
import { NodeClient } from '../../agent/node-client.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { FleetId, SecretName } from '../../protocol/ids.ts'
import { joinedDirectory } from './joined-directory.ts'
import { startGateway } from './start-gateway.ts'

test('a secret is taken from the fleet that was joined only', async () => {
  const gateway = await startGateway()
  onTestFinished(() => gateway.close())
  const name = SecretName.parse('db.password')
  gateway.secrets.set(name, { value: utf8('value'), allowed: true })
  const joined = await openJoinedNode(await joinedDirectory(gateway), systemClock)
  onTestFinished(() => joined.connection.close())
  const { connection, keys, gatewayKeys, gatewayClock: clock, state } = joined
  const { id: node, fleet } = state.node

  const client = new NodeClient({ connection, node, keys, gatewayKeys, clock, fleet })
  const secrets = await client.fetchSecrets([{ name }])
  expect(secrets.get(name)?.value.expose()).toEqual(utf8('value'))

  // Sealed as it should be, only for a fleet that is not the one this node joined.
  const elsewhere = FleetId.parse('b'.repeat(26))
  const stranger = new NodeClient({ connection, node, keys, gatewayKeys, clock, fleet: elsewhere })
  await expect(stranger.fetchSecrets([{ name }])).rejects.toMatchObject({ code: 'E_GATEWAY_ANSWER' })
})
