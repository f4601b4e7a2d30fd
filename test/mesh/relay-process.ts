/**
 * A node's relay client in a process of its own, because its loopback is that of the network namespace it runs in. The first line of standard input
 * says who it is, each further one is a request, answered by a line of output.
 */
import { createInterface } from 'node:readline'
import { systemClock } from '../../agent/clock.ts'
import { systemCommands } from '../../agent/mesh/exec.ts'
import { openLoopback } from '../../agent/mesh/relay/loopback.ts'
import { RelayClient } from '../../agent/mesh/relay/relay-client.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { Identity } from '../../crypto/identity.ts'
import { nodeIdOf } from '../../crypto/node-id.ts'
import { signRelayGrant } from '../../crypto/relay-grant.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import type { Endpoint, FleetId, GatewayKey, NodeId } from '../../protocol/ids.ts'
import { RELAY_GRANT_MS, RELAY_RATE } from '../../protocol/limits.ts'
import { RELAY_GRANT_HEADER, RELAY_SUBPROTOCOL } from '../../protocol/relay.ts'

export interface RelayProcessInput {
  readonly identitySeed: string
  readonly relay: string
  readonly ca: string
  /** Stands for the gateway, which would sign the grants. */
  readonly gateway: { readonly key: GatewayKey; readonly jwk: object }
  readonly iface: string
  readonly listenPort: number
  /** As if this machine had no nftables. */
  readonly withoutNft?: boolean
}

export type RelayProcessRequest =
  /** Answered when the peer is reached. */
  | { readonly reach: NodeId }
  | { readonly disguise: NodeId; readonly as: Endpoint | null }
  | { readonly stop: true }

const lines = createInterface(process.stdin)[Symbol.asyncIterator]()
const input = JSON.parse(String((await lines.next()).value)) as RelayProcessInput
const identity = await Identity.fromSeed(SecretBytes.take(Buffer.from(input.identitySeed, 'hex')))
const self = await nodeIdOf(identity.publicKey)
const origin = input.relay.replace('wss:', 'https:')
const connection = new GatewayConnection({ url: parseGatewayUrl(input.relay), ca: input.ca })
const privateKey = await crypto.subtle.importKey('jwk', input.gateway.jwk, 'Ed25519', false, ['sign'])
const commands = {
  ...systemCommands,
  run: (program: string, ...rest: [readonly string[], Uint8Array?]) =>
    systemCommands.run(input.withoutNft === true && program === 'nft' ? 'no-such-program' : program, ...rest),
}
const client = new RelayClient({
  self,
  clock: systemClock,
  now: Date.now,
  log: { debug: () => {}, info: () => {}, warn: console.error, error: console.error },
  ownGateway: '',
  openLoopback: (onPacket) =>
    openLoopback({ commands, iface: input.iface, listenPort: input.listenPort, onPacket }),
  async requestGrant(_, peers) {
    const until = Date.now() + RELAY_GRANT_MS
    const grant = await signRelayGrant(
      { key: input.gateway.key, next: undefined, privateKey },
      {
        fleet: 'a'.repeat(26) as FleetId,
        node: self,
        identity: identity.publicKey,
        relay: origin,
        peers,
        rate: RELAY_RATE,
        issuedAt: Date.now(),
        until,
      },
    )
    return { grant, peers: [...peers], until }
  },
  async dial(_, shard, grant) {
    const path = `/v1/relay?shard=${shard}`
    const target = { node: self, origin, method: 'GET', path, body: utf8('') }
    const { jwt } = await identity.signProof(target, Date.now())
    const headers = { authorization: `Claw ${jwt}`, [RELAY_GRANT_HEADER]: grant }
    return connection.webSocket(path, headers, [RELAY_SUBPROTOCOL])
  },
})
client.use([input.relay])

async function reached(peer: NodeId): Promise<Endpoint> {
  for (;;) {
    const endpoint = client.endpoint(peer)
    if (endpoint !== undefined) return endpoint
    await new Promise<void>((resolve) => client.onChange(resolve))
  }
}

async function answer(request: RelayProcessRequest): Promise<unknown> {
  if ('reach' in request) return reached(request.reach)
  if ('disguise' in request) return client.disguise(request.disguise, request.as ?? undefined)
  await client.stop()
  connection.close()
  return 'stopped'
}

process.stdout.write(`${JSON.stringify(self)}\n`)
for await (const line of { [Symbol.asyncIterator]: () => lines }) {
  const request = JSON.parse(line) as RelayProcessRequest
  process.stdout.write(`${JSON.stringify((await answer(request)) ?? null)}\n`)
  if ('stop' in request) process.exit()
}
