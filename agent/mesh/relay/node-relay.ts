/** The relay client of a node that has joined: its own proofs and grants, over TLS that is checked as the gateway's is. */
import { rootCertificates } from 'node:tls'
import type { WebSocket } from 'ws'
import { utf8 } from '../../../crypto/bytes.ts'
import { GatewayConnection } from '../../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../../host/gateway-url.ts'
import { PROOF_SCHEME } from '../../../protocol/proof.ts'
import { RELAY_GRANT_HEADER, RELAY_PATH, RELAY_SUBPROTOCOL } from '../../../protocol/relay.ts'
import type { Clock } from '../../clock.ts'
import type { JoinedNode } from '../../joined-node.ts'
import type { Log } from '../../log.ts'
import type { Commands } from '../exec.ts'
import { openLoopback } from './loopback.ts'
import { RelayClient } from './relay-client.ts'

interface Options {
  readonly node: JoinedNode
  readonly clock: Clock
  readonly log: Log
  readonly commands: Commands
  readonly iface: string
  readonly listenPort: number
}

export function createNodeRelay({ node, clock, log, commands, iface, listenPort }: Options): RelayClient {
  const { client, connection, gatewayClock, state, keys } = node
  const ownGateway = connection.url.origin.replace(/^https:/, 'wss:')
  const connections = new Map<string, GatewayConnection>()
  const connectionTo = (relay: string): GatewayConnection => {
    if (relay === ownGateway) return connection
    const existing = connections.get(relay) ?? connectElsewhere(relay, state.gateway.ca)
    connections.set(relay, existing)
    return existing
  }
  return new RelayClient({
    self: state.node.id,
    clock,
    now: () => gatewayClock.now(),
    log,
    ownGateway,
    openLoopback: (onPacket) => openLoopback({ commands, iface, listenPort, onPacket }),
    requestGrant: (relay, peers) => client.relayGrant(relay, peers),
    async dial(relay, shard, grant): Promise<WebSocket> {
      const to = connectionTo(relay)
      const path = `${RELAY_PATH}?shard=${shard}`
      const target = { node: state.node.id, origin: to.url.origin, method: 'GET', path, body: utf8('') }
      const { jwt } = await keys.identity.signProof(target, gatewayClock.now())
      const headers = { authorization: `${PROOF_SCHEME} ${jwt}`, [RELAY_GRANT_HEADER]: grant }
      return to.webSocket(path, headers, [RELAY_SUBPROTOCOL])
    },
  })
}

/** A relay elsewhere has a certificate of a public CA or of the fleet's own; pins are the gateway's, and say nothing of it. */
function connectElsewhere(relay: string, ca: string | undefined): GatewayConnection {
  const trusted = ca === undefined ? undefined : [ca, ...rootCertificates].join('\n')
  return new GatewayConnection({ url: parseGatewayUrl(relay), ca: trusted })
}
