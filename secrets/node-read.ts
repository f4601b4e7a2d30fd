/** What a node's job needs, all of it or an error, each value sealed to that node and to this one request. */
import type { DeliverySealer } from '../crypto/delivery.ts'
import { type ErrorCode, type Refusal, refusal } from '../protocol/errors.ts'
import type { FleetId, SealingKey } from '../protocol/ids.ts'
import { ok, type Result } from '../protocol/result.ts'
import { mayRead, type Reader, type Verdict } from '../protocol/secret-policy.ts'
import type { NodeSecretsBody, NodeSecretsReply } from '../protocol/secrets.ts'
import type { KnownSecrets } from './known.ts'
import { type Readable, readSecrets } from './read.ts'
import type { Found } from './rows.ts'
import { beyondOverlap } from './state.ts'
import type { SecretStores } from './stores.ts'

interface NodeRead {
  readonly node: Pick<Reader, 'id' | 'tags'> & { readonly fleet: FleetId; readonly seal: SealingKey }
  readonly sealer: DeliverySealer
  /** `jti` of the proof that asks for them. */
  readonly request: string
  readonly requestId: string
  /** What all values together may have, and how it is said that they have more. */
  readonly most: { readonly bytes: number; readonly code: ErrorCode }
}

export async function readForNode(
  stores: SecretStores,
  known: KnownSecrets,
  { secrets, workload }: NodeSecretsBody,
  { node, sealer, request, requestId, most }: NodeRead,
): Promise<Result<NodeSecretsReply, Refusal>> {
  const { id, tags, fleet, seal } = node
  const actor = { actor: `node:${id}`, requestId }
  const judge = judgeNode({ id, tags, workload }, stores.now())
  const purpose = workload === undefined ? undefined : `for workload ${workload}`
  const accept = (readable: readonly Readable[]) =>
    readable.reduce((sum, { version }) => sum + version.bytes, 0) > most.bytes
      ? refusal(most.code)
      : undefined
  const asked = { wanted: secrets, judge, purpose, accept }
  const items = await readSecrets(stores, known, actor, asked, async ({ secret, version: found }, value) => {
    const { name, class: secretClass } = secret
    const { version } = found
    const sealed = await sealer.seal(seal, value, { fleet, name, version, request }, stores.now())
    return { name, version, class: secretClass, sealed }
  })
  return items.ok ? ok({ fleet, items: [...items.value] }) : items
}

export const judgeNode =
  (reader: Reader, now: number) =>
  (found: Found): Verdict => {
    const verdict = mayRead(found.secret.policy, reader, now)
    const ended = verdict.allowed ? beyondOverlap(found, now) : undefined
    return ended === undefined ? verdict : { allowed: false, code: ended.code, reason: 'not the newest' }
  }
