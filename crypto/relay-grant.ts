/**
 * What a gateway allows a node at a relay, signed with the gateway's key: a relay that knows this key asks nobody. The grant is no credential by
 * itself, since the node proves beside it that it holds the identity key that the grant names.
 */
import * as z from 'zod'
import { fromBase32, toBase32 } from '../protocol/base32.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import { FleetId, type GatewayKey, IdentityKey, NodeId } from '../protocol/ids.ts'
import { parseJson } from '../protocol/json.ts'
import { MAX_RELAY_GRANT_BYTES, MAX_RELAY_PEERS, RELAY_GRANT_MS } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { concat, fromBase64Url, lengthPrefixed, toBase64Url, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'
import {
  decodeGatewayProof,
  encodeGatewayProof,
  type GatewaySigner,
  signAsGateway,
  verifyGateway,
} from './gateway-proof.ts'

const ID_BYTES = 16

/** Node ids without their base32: a grant has to fit into a header. */
export const packNodes = (nodes: readonly NodeId[]): Uint8Array => concat(...nodes.map(fromBase32))

/** @param bytes a whole number of ids. */
export const unpackNodes = (bytes: Uint8Array): NodeId[] =>
  Array.from(
    { length: bytes.length / ID_BYTES },
    (_, at) => toBase32(bytes.subarray(at * ID_BYTES, (at + 1) * ID_BYTES)) as NodeId,
  )

const Rate = z.strictObject({ bytes: z.int().positive(), packets: z.int().positive() })

const Payload = z.strictObject({
  fleet: FleetId,
  node: NodeId,
  identity: IdentityKey,
  /** Origin (`https`) of the relay that it is for. */
  relay: z.string().max(512),
  peers: z.string(),
  rate: Rate,
  /** Unix ms. */
  issuedAt: z.int(),
  until: z.int(),
})

export type RelayGrant = Omit<z.infer<typeof Payload>, 'peers'> & { readonly peers: readonly NodeId[] }

export async function signRelayGrant(signer: GatewaySigner, grant: RelayGrant): Promise<string> {
  const payload = { ...grant, peers: toBase64Url(packNodes(grant.peers)) } satisfies z.input<typeof Payload>
  const text = toBase64Url(utf8(JSON.stringify(payload)))
  return `${text}.${encodeGatewayProof(await signAsGateway(signer, transcript(text)))}`
}

interface Expected {
  /** Keys of gateways that this relay serves. */
  readonly keys: readonly GatewayKey[]
  /** Of this relay. */
  readonly origins: ReadonlySet<string>
  readonly now: number
}

export async function verifyRelayGrant(
  text: string,
  { keys, origins, now }: Expected,
): Promise<Result<RelayGrant, ErrorCode>> {
  const [body = '', signature = '', ...rest] = text.length > MAX_RELAY_GRANT_BYTES ? [] : text.split('.')
  const proof = decodeGatewayProof(signature)
  if (rest.length > 0 || proof === undefined) return err('E_RELAY_GRANT')
  if ((await verifyGateway(proof, transcript(body), keys)) === undefined) return err('E_RELAY_GRANT')
  const grant = readPayload(body)
  if (grant === undefined || !origins.has(grant.relay)) return err('E_RELAY_GRANT')
  // A grant that claims to live longer than any gateway gives was not made by this version of one.
  if (grant.until - grant.issuedAt > RELAY_GRANT_MS) return err('E_RELAY_GRANT')
  return now < grant.until ? ok(grant) : err('E_RELAY_GRANT_EXPIRED')
}

function readPayload(body: string): RelayGrant | undefined {
  const bytes = fromBase64Url(body)
  const payload = bytes && Payload.safeParse(parseJson(bytes)).data
  const peers = payload && fromBase64Url(payload.peers)
  if (peers === undefined || peers.length % ID_BYTES !== 0 || peers.length > MAX_RELAY_PEERS * ID_BYTES)
    return undefined
  return { ...payload, peers: unpackNodes(peers) } as RelayGrant
}

const transcript = (body: string): Uint8Array => lengthPrefixed(DOMAIN.relayGrant, body)
