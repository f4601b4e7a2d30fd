/** POST /v1/node/secrets: what a node's job needs, all of it or an error, each value sealed to that node and to this one request. */
import { Hono } from 'hono'
import { sealDelivery } from '../../crypto/delivery.ts'
import { MAX_FETCH_BYTES } from '../../protocol/limits.ts'
import { mayRead, type Reader, type Verdict } from '../../protocol/secret-policy.ts'
import { NodeSecretsBody, type NodeSecretsReply } from '../../protocol/secrets.ts'
import { openRead, readSecrets } from '../../secrets/read.ts'
import type { Found } from '../../secrets/rows.ts'
import { beyondOverlap } from '../../secrets/state.ts'
import { parseJson } from '../body.ts'
import { type GatewayEnv, orRefuse, RefusedError } from '../context.ts'
import { requireRecordedNode } from '../middleware/require-node.ts'
import { signedReply } from '../middleware/signed-answer.ts'
import { knownSecrets, provenStores } from '../secret-stores.ts'

export const nodeSecretRoutes = new Hono<GatewayEnv>().post('/', requireRecordedNode, async (c) => {
  // One look: `c.var` is put together anew each time.
  const { node, proof, body, requestId } = c.var
  const { secrets, workload } = parseJson(body, NodeSecretsBody)
  const stores = provenStores(c)
  const actor = { actor: `node:${node.id}`, requestId }
  const judge = judgeNode({ id: node.id, tags: node.tags, workload }, stores.now())
  const purpose = workload === undefined ? undefined : `for workload ${workload}`
  const readable = orRefuse(await readSecrets(stores, knownSecrets(c.env), actor, secrets, judge, purpose))
  const bytes = readable.reduce((sum, { version }) => sum + version.bytes, 0)
  if (bytes > MAX_FETCH_BYTES) throw new RefusedError('E_SECRETS_TOO_LARGE')
  const items: NodeSecretsReply['items'] = []
  for (const one of readable) {
    const { name, class: secretClass } = one.secret
    const { version } = one.version
    using value = orRefuse(await openRead(stores, actor, one))
    items.push({
      name,
      version,
      class: secretClass,
      sealed: await sealDelivery(node.seal, value, { fleet: node.fleet, name, version, request: proof.jti }),
    })
  }
  const reply: NodeSecretsReply = { fleet: node.fleet, items }
  return signedReply(c, reply)
})

export const judgeNode =
  (reader: Reader, now: number) =>
  (found: Found): Verdict => {
    const verdict = mayRead(found.secret.policy, reader, now)
    const ended = verdict.allowed ? beyondOverlap(found, now) : undefined
    return ended === undefined ? verdict : { allowed: false, code: ended.code, reason: 'not the newest' }
  }
