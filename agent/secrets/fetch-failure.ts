/** What a secret that was not fetched means: for whoever waits for it, and for what is kept of it on this node. */
import type { UserError } from '../../host/user-error.ts'
import type { SecretName } from '../../protocol/ids.ts'
import type { SecretReference } from './reference.ts'

export type FetchFailure =
  /** Nobody has judged: what is kept here may stand in. */
  | 'gateway away'
  /** It may answer in a moment; what is kept here may not stand in, because the gateway has been asked. */
  | 'not yet'
  /** There is no such secret. Who starts together with whoever writes it may wait for that. */
  | 'absent'
  | 'denied'
  /** The node itself is not to have anything. */
  | 'node refused'
  | 'failed'

const KINDS: Readonly<Record<string, FetchFailure>> = {
  E_GATEWAY_UNREACHABLE: 'gateway away',
  E_GATEWAY_TIMEOUT: 'gateway away',
  E_UNAVAILABLE: 'gateway away',
  E_NOT_CONFIGURED: 'not yet',
  E_INTERNAL: 'not yet',
  E_RATE_LIMITED: 'not yet',
  E_SECRET_BUSY: 'not yet',
  E_SECRET_NOT_FOUND: 'absent',
  E_SECRET_VERSION_NOT_FOUND: 'absent',
  E_SECRET_DENIED: 'denied',
  E_SECRET_TAG: 'denied',
  E_SECRET_WORKLOAD: 'denied',
  E_SECRET_DENY_RULE: 'denied',
  E_SECRET_POLICY_EXPIRED: 'denied',
  E_SECRET_VERSION_ENDED: 'denied',
  E_SECRET_DELETED: 'denied',
  E_SECRET_DESTROYED: 'denied',
  E_SECRET_NOT_FOR_NODE: 'denied',
  E_NODE_REMOVED: 'node refused',
  E_NODE_QUARANTINED: 'node refused',
  E_NODE_UNKNOWN: 'node refused',
}

export const failureOf = ({ code }: UserError): FetchFailure => KINDS[code] ?? 'failed'

/** What must not be kept on this node any longer. */
export function toForget(
  error: UserError,
  asked: readonly SecretReference[],
): 'nothing' | 'everything' | SecretName[] {
  const failure = failureOf(error)
  if (failure === 'node refused') return 'everything'
  if (failure !== 'denied' && failure !== 'absent') return 'nothing'
  return refusedAmong(error, asked).map(({ name }) => name)
}

/** Which of them the refusal names: the gateway says it for people, so if it cannot be found there it may be any. */
export function refusedAmong(
  { why = '', message }: UserError,
  asked: readonly SecretReference[],
): readonly SecretReference[] {
  const words = `${message} ${why}`.split(/[\s,]+/)
  const named = asked.filter(({ name }) =>
    words.some((word, at) => word === name && words[at - 1] === 'secret'),
  )
  return named.length > 0 ? named : asked
}
