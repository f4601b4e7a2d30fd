/** /v1/secrets: writing and reading secrets, for administrators. Values come as raw bytes and leave sealed. */
import { Hono } from 'hono'
import { sealDelivery } from '../../crypto/delivery.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { isSafeX25519 } from '../../crypto/x25519.ts'
import { SecretPolicy, SecretReadBody, type SecretReadReply } from '../../protocol/http.ts'
import { SecretName } from '../../protocol/ids.ts'
import { MAX_SECRET_BYTES } from '../../protocol/limits.ts'
import { audit } from '../audit.ts'
import { readBytes, readJson } from '../body.ts'
import { type GatewayContext, type GatewayEnv, orRefuse, RefusedError } from '../context.ts'
import { requireAdmin } from '../middleware/require-admin.ts'
import { callFleet } from '../objects.ts'
import { nextCursor, readPage } from '../page.ts'
import type { StoredPolicy } from '../secret-policy.ts'
import { deleteSecret, findSecrets, listSecrets, openSecret, putSecret } from '../secret-store.ts'

export const secretRoutes = new Hono<GatewayEnv>()
  .use(requireAdmin)
  .get('/', async (c) => {
    const page = readPage(c)
    await audit(c, { actor: c.var.actor, action: 'secret.list', target: 'secrets' })
    const items = await listSecrets(c.env, page.after, page.limit)
    return c.json({ items, ...nextCursor(items, page, items.at(-1)?.name) })
  })
  .put('/:name', async (c) => {
    const name = readName(c.req.param('name'))
    const policy = await readPolicy(c)
    using value = SecretBytes.take(await readValue(c))
    await audit(c, {
      actor: c.var.actor,
      action: 'secret.write',
      target: `secret:${name}`,
      reason: describe(policy),
    })
    return c.json(await putSecret(c.env, c.var.config, name, value, policy, Date.now()))
  })
  .post('/:name/read', async (c) => {
    const name = readName(c.req.param('name'))
    const { sealTo, request } = await readJson(c, SecretReadBody)
    if (!(await isSafeX25519(sealTo))) throw new RefusedError('E_BODY_INVALID', 'wrong or unknown: sealTo')
    const entry = { actor: c.var.actor, action: 'secret.read', target: `secret:${name}` }
    const [secret] = await findSecrets(c.env, [name])
    if (secret === undefined) {
      await audit(c, { ...entry, outcome: 'denied', reason: 'E_SECRET_NOT_FOUND' })
      throw new RefusedError('E_SECRET_NOT_FOUND')
    }
    await audit(c, { ...entry, reason: `version ${secret.version}, as administrator` })
    using value = orRefuse(
      await openSecret(c.env, c.var.config, secret, (work) => c.executionCtx.waitUntil(work)),
    )
    const { id: fleet } = await callFleet(c, (stub) => stub.identity())
    const { version } = secret
    const sealed = await sealDelivery(sealTo, value, { fleet, name, version, request })
    const reply: SecretReadReply = { fleet, item: { name, version, sealed } }
    return c.json(reply)
  })
  .delete('/:name', async (c) => {
    const name = readName(c.req.param('name'))
    await audit(c, { actor: c.var.actor, action: 'secret.delete', target: `secret:${name}` })
    if (!(await deleteSecret(c.env, name, Date.now()))) throw new RefusedError('E_SECRET_NOT_FOUND')
    return c.body(null, 204)
  })

function readName(text: string): SecretName {
  const name = SecretName.safeParse(text)
  if (!name.success) throw new RefusedError('E_SECRET_NAME')
  return name.data
}

async function readValue(c: GatewayContext): Promise<Uint8Array> {
  try {
    return await readBytes(c, MAX_SECRET_BYTES)
  } catch (error) {
    if (error instanceof RefusedError && error.refusal.code === 'E_BODY_TOO_LARGE')
      throw new RefusedError('E_SECRET_TOO_LARGE')
    throw error
  }
}

/** From the query, because the body is the value. Undefined if the request names no reader: the policy then stays as it is. */
async function readPolicy(c: GatewayContext): Promise<StoredPolicy | undefined> {
  const allowTags = c.req.queries('allow-tag')
  const allowNodes = c.req.queries('allow-node')
  if (allowTags === undefined && allowNodes === undefined) return undefined
  const policy = SecretPolicy.safeParse({ allowTags, allowNodes })
  if (!policy.success)
    throw new RefusedError('E_QUERY_INVALID', 'allow-tag or allow-node is not a tag or node name')
  const nodes = await Promise.all(
    policy.data.allowNodes.map(async (name) => {
      const node = await callFleet(c, (fleet) => fleet.nodeByName(name))
      if (node === undefined) throw new RefusedError('E_NODE_NOT_FOUND', `there is no node ${name}`)
      return { id: node.id, name }
    }),
  )
  return { allowTags: policy.data.allowTags, allowNodes: nodes }
}

function describe(policy: StoredPolicy | undefined): string {
  if (policy === undefined) return 'policy kept'
  const tags = policy.allowTags.join(' ') || 'none'
  return `allow tags ${tags}; allow nodes ${policy.allowNodes.map(({ name }) => name).join(' ') || 'none'}`
}
