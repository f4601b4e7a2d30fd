/** POST /v1/node/secrets: what a node's job needs, all of it or an error, each value sealed to that node and to this one request. */
import { Hono } from 'hono'
import { sealDelivery } from '../../crypto/delivery.ts'
import { NodeSecretsBody, type NodeSecretsReply } from '../../protocol/http.ts'
import { MAX_FETCH_BYTES } from '../../protocol/limits.ts'
import { audit } from '../audit.ts'
import { parseJson } from '../body.ts'
import { type GatewayEnv, orRefuse, RefusedError } from '../context.ts'
import { requireNode } from '../middleware/require-node.ts'
import { mayRead } from '../secret-policy.ts'
import { findSecrets, openSecret } from '../secret-store.ts'

export const nodeSecretRoutes = new Hono<GatewayEnv>().post('/', requireNode, async (c) => {
  const { names } = parseJson(c.var.body, NodeSecretsBody)
  const { node, proofId: request } = c.var
  const found = new Map((await findSecrets(c.env, names)).map((secret) => [secret.name, secret]))
  const verdicts = names.map((name) => {
    const secret = found.get(name)
    const verdict =
      secret === undefined ? { allowed: false, reason: 'E_SECRET_NOT_FOUND' } : mayRead(secret.policy, node)
    return { name, secret, ...verdict }
  })
  await audit(
    c,
    ...verdicts.map(({ name, secret, allowed, reason }) => ({
      actor: `node:${node.id}`,
      action: 'secret.read',
      target: `secret:${name}`,
      outcome: allowed ? ('allowed' as const) : ('denied' as const),
      reason: secret === undefined ? reason : `version ${secret.version}: ${reason}`,
    })),
  )
  const bytes = verdicts.reduce((sum, { secret }) => sum + (secret?.bytes ?? 0), 0)
  if (bytes > MAX_FETCH_BYTES) throw new RefusedError('E_SECRETS_TOO_LARGE')
  const items: NodeSecretsReply['items'] = []
  for (const { name, secret, allowed } of verdicts) {
    // One answer for "not there" and "not yours": names are not for nodes to guess at.
    if (secret === undefined || !allowed) throw new RefusedError('E_SECRET_DENIED', `secret ${name}`)
    using value = orRefuse(
      await openSecret(c.env, c.var.config, secret, (work) => c.executionCtx.waitUntil(work)),
    )
    const { version } = secret
    items.push({
      name,
      version,
      sealed: await sealDelivery(node.seal, value, { fleet: node.fleet, name, version, request }),
    })
  }
  const reply: NodeSecretsReply = { fleet: node.fleet, items }
  return c.json(reply)
})
