/** The state directory of a node that has joined a fake gateway, without the cost of a process. */
import { systemClock } from '../../agent/clock.ts'
import { enrol } from '../../agent/enrolment.ts'
import { GatewayClock } from '../../agent/gateway-clock.ts'
import { JoinToken } from '../../agent/join-token.ts'
import { loadOrCreateKeys } from '../../agent/node-keys.ts'
import { writeNodeState } from '../../agent/node-state.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { NodeName } from '../../protocol/ids.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { certificates } from './start-gateway.ts'

/** @param url under which the node knows the gateway. */
export async function joinedDirectory(gateway: FakeGateway, url = gateway.url): Promise<string> {
  const directory = temporaryDirectory()
  const keys = await loadOrCreateKeys(directory)
  const token = await JoinToken.parse(await gateway.joinToken())
  const { ca } = certificates
  const connection = new GatewayConnection({ url: parseGatewayUrl(gateway.url), ca })
  try {
    const clock = new GatewayClock({ ...systemClock, now: gateway.now })
    const name = NodeName.parse('node-a')
    const { node, gatewayKeys } = await enrol({ connection, token, keys, name, clock })
    writeNodeState(directory, {
      version: 1,
      gateway: { url, ca, pins: [], keys: [...gatewayKeys] },
      identity: keys.identity.publicKey,
      node,
    })
  } finally {
    connection.close()
  }
  return directory
}
