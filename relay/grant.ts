/** From a grant to what it allows at this relay. */
import { verifyRelayGrant } from '../crypto/relay-grant.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import type { GatewayKey, IdentityKey, NodeId } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { Allowance } from './member.ts'

interface Relay {
  readonly keys: readonly GatewayKey[]
  readonly origins: ReadonlySet<string>
  readonly now: number
}

/** @param node who shows it. */
export async function readGrant(
  text: string,
  node: NodeId,
  relay: Relay,
): Promise<Result<{ readonly allowance: Allowance; readonly identity: IdentityKey }, ErrorCode>> {
  const grant = await verifyRelayGrant(text, relay)
  if (!grant.ok) return grant
  if (grant.value.node !== node) return err('E_RELAY_GRANT')
  const { peers, rate, issuedAt, until, identity } = grant.value
  return ok({ allowance: { peers, rate, issuedAt, until }, identity })
}
