import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../agent/clock.ts'
import type { ReceivedAnswer } from '../../agent/gateway-answer.ts'
import { openJoinedNode } from '../../agent/joined-node.ts'
import { NodeClient } from '../../agent/node-client.ts'
import type { CarriedRequest } from '../../agent/session/session-requests.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { FleetId, SecretName } from '../../protocol/ids.ts'
import { PROOF_SCHEME } from '../../protocol/proof.ts'
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

test('what another carries to the gateway is believed as far as the gateway has signed it', async () => {
  const gateway = await startGateway()
  onTestFinished(() => gateway.close())
  const name = SecretName.parse('db.password')
  gateway.secrets.set(name, { value: utf8('value'), allowed: true })
  const { client, connection } = await openJoinedNode(await joinedDirectory(gateway), systemClock)
  onTestFinished(() => connection.close())
  const ways: string[] = []
  const carrier = (change: (answer: ReceivedAnswer) => ReceivedAnswer | undefined) => ({
    async carry({ path, proof, body }: CarriedRequest) {
      ways.push('carried')
      const headers = { authorization: `${PROOF_SCHEME} ${proof}`, 'content-type': 'application/json' }
      return change(await connection.request({ method: 'POST', path, headers, body }))
    },
  })
  const fetched = async (change: (answer: ReceivedAnswer) => ReceivedAnswer | undefined) =>
    (await client.fetchSecrets([{ name }], carrier(change))).get(name)?.value.expose()

  expect(await fetched((answer) => answer)).toEqual(utf8('value'))
  expect(await fetched(() => undefined)).toEqual(utf8('value'))
  expect(ways).toEqual(['carried', 'carried'])
  const sealed = ({ body }: ReceivedAnswer) =>
    Buffer.from(body)
      .toString()
      .replace(/"sealed":"./, '"sealed":"_')
  await expect(fetched((answer) => ({ ...answer, body: utf8(sealed(answer)) }))).rejects.toMatchObject({
    code: 'E_GATEWAY_KEY',
  })
  await expect(fetched((answer) => ({ ...answer, headers: {} }))).rejects.toMatchObject({
    code: 'E_GATEWAY_KEY',
  })
})
