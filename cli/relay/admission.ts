/** Whether a request to a stand-alone relay is an upgrade by a node that holds a grant and the key that the grant names. It asks nobody. */
import type { IncomingHttpHeaders } from 'node:http'
import { bodyHash, importIdentityKey } from '../../crypto/identity.ts'
import { proofOf, readProof, verifyProof } from '../../crypto/request-proof.ts'
import { type Refusal, refusal } from '../../protocol/errors.ts'
import type { GatewayKey, NodeId } from '../../protocol/ids.ts'
import { RELAY_GRANT_HEADER, RELAY_PATH, RELAY_SUBPROTOCOL } from '../../protocol/relay.ts'
import { err, ok, type Result } from '../../protocol/result.ts'
import { readGrant } from '../../relay/grant.ts'
import type { Allowance } from '../../relay/member.ts'
import type { Replays } from './replays.ts'

export interface RelayIdentity {
  /** Keys of the gateways whose grants are taken. */
  readonly keys: readonly GatewayKey[]
  /** Of this relay, `https`. */
  readonly origins: ReadonlySet<string>
}

interface UpgradeRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly headers: IncomingHttpHeaders
}

export interface Admitted {
  readonly node: NodeId
  readonly allowance: Allowance
}

export async function admit(
  { method = '', url = '', headers }: UpgradeRequest,
  relay: RelayIdentity,
  replays: Replays,
  now: number,
): Promise<Result<Admitted, Refusal>> {
  if (new URL(url, 'https://relay').pathname !== RELAY_PATH) return err(refusal('E_NOT_FOUND'))
  const offered = headers['sec-websocket-protocol'] ?? ''
  if (!offered.split(',').some((name) => name.trim() === RELAY_SUBPROTOCOL))
    return err(refusal('E_PROTOCOL_VERSION'))
  const jwt = proofOf(headers.authorization)
  if (jwt === undefined) return err(refusal('E_AUTH_REQUIRED', 'send `Authorization: Claw <proof>`'))
  const claimed = readProof(jwt)
  if (!claimed.ok) return claimed
  const node = claimed.value.claims.sub
  const grant = headers[RELAY_GRANT_HEADER]
  const granted = await readGrant(String(grant ?? ''), node, { ...relay, now })
  if (!granted.ok) return err(refusal(granted.error))
  const { allowance, identity } = granted.value
  const request = { method, path: url, bodyHash: await bodyHash(new Uint8Array()) }
  const proof = await verifyProof(
    claimed.value,
    await importIdentityKey(identity),
    request,
    relay.origins,
    now,
  )
  if (!proof.ok) return proof
  const { jti, iat } = proof.value
  return replays.admit(jti, iat, now) ? ok({ node, allowance }) : err(refusal('E_PROOF_REPLAYED'))
}
