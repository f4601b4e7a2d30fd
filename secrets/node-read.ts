/** What a node's job needs, all of it or an error, each value sealed to that node and to this one request. */
import { sealDelivery } from '../crypto/delivery.ts'
import { type ErrorCode, type Refusal, refusal } from '../protocol/errors.ts'
import type { FleetId, SealingKey } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { mayRead, type Reader, type Verdict } from '../protocol/secret-policy.ts'
import type { NodeSecretsBody, NodeSecretsReply } from '../protocol/secrets.ts'
import type { KnownSecrets } from './known.ts'
import { openRead, readSecrets } from './read.ts'
import type { Found } from './rows.ts'
import { beyondOverlap } from './state.ts'
import type { SecretStores } from './stores.ts'

interface NodeRead {
  readonly node: Pick<Reader, 'id' | 'tags'> & { readonly fleet: FleetId; readonly seal: SealingKey }
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
  { node, request, requestId, most }: NodeRead,
): Promise<Result<NodeSecretsReply, Refusal>> {
  const { id, tags, fleet, seal } = node
  const actor = { actor: `node:${id}`, requestId }
  const judge = judgeNode({ id, tags, workload }, stores.now())
  const purpose = workload === undefined ? undefined : `for workload ${workload}`
  const readable = await readSecrets(stores, known, actor, secrets, judge, purpose)
  if (!readable.ok) return readable
  const bytes = readable.value.reduce((sum, { version }) => sum + version.bytes, 0)
  if (bytes > most.bytes) return err(refusal(most.code))
  const items: NodeSecretsReply['items'] = []
  for (const one of readable.value) {
    const { name, class: secretClass } = one.secret
    const { version } = one.version
    const opened = await openRead(stores, actor, one)
    if (!opened.ok) return opened
    using value = opened.value
    const sealed = await sealDelivery(seal, value, { fleet, name, version, request })
    items.push({ name, version, class: secretClass, sealed })
  }
  return ok({ fleet, items })
}

export const judgeNode =
  (reader: Reader, now: number) =>
  (found: Found): Verdict => {
    const verdict = mayRead(found.secret.policy, reader, now)
    const ended = verdict.allowed ? beyondOverlap(found, now) : undefined
    return ended === undefined ? verdict : { allowed: false, code: ended.code, reason: 'not the newest' }
  }
