/** /v1/secrets and /v1/secret-versions: what there is, without the values; who may read it, and why. */
import { Hono } from 'hono'
import { refusal } from '../../protocol/errors.ts'
import { MAX_SECRET_PAGE } from '../../protocol/limits.ts'
import { RefusedError } from '../../protocol/refused-error.ts'
import { mayRead } from '../../protocol/secret-policy.ts'
import { SecretExplainBody, type SecretExplainReply, type SecretRecipients } from '../../protocol/secrets.ts'
import { recordRefusal } from '../../secrets/change.ts'
import { secretDetail, secretItem, versionItem } from '../../secrets/item.ts'
import { type Found, findSecret, listSecrets, listVersions, versionsOf } from '../../secrets/rows.ts'
import { audit } from '../audit.ts'
import { readJson } from '../body.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { requireRole } from '../middleware/require-role.ts'
import { callFleet } from '../objects.ts'
import { nextCursor, readPage, wrongCursor } from '../page.ts'
import { policyOfQuery } from '../secret-policy.ts'
import { actorOf, requestStores } from '../secret-stores.ts'
import { readName } from './secrets.ts'

export const secretMetadataRoutes = new Hono<GatewayEnv>()
  .get('/', requireRole('viewer'), async (c) => {
    const page = readPage(c, MAX_SECRET_PAGE)
    const prefix = readPrefix(c)
    const due = c.req.query('due') === 'true'
    await audit(c, { actor: c.var.actor, action: 'secret.list', target: 'secrets', reason: prefix })
    const now = Date.now()
    const found = await listSecrets(c.env.DB, { ...page, prefix })
    const items = found
      .map((one) => secretItem(one, now))
      .filter((item) => !due || isDue(item.rotationDue, now))
    return c.json({ items, ...nextCursor(found, page, found.at(-1)?.secret.name) })
  })
  .get('/:name', requireRole('viewer'), async (c) => {
    const found = await existing(c, 'secret.show')
    await audit(c, { actor: c.var.actor, action: 'secret.show', target: `secret:${found.secret.name}` })
    return c.json(secretDetail(found, await versionsOf(c.env.DB, found.secret.name), Date.now()))
  })
  .post('/:name/explain', requireRole('viewer'), async (c) => {
    const found = await existing(c, 'secret.explain')
    const { node: nodeName, workload } = await readJson(c, SecretExplainBody)
    const node = await callFleet(c, (fleet) => fleet.nodeByName(nodeName))
    if (node === undefined) throw new RefusedError('E_NODE_NOT_FOUND', `there is no node ${nodeName}`)
    const { name } = found.secret
    await audit(c, {
      actor: c.var.actor,
      action: 'secret.explain',
      target: `secret:${name}`,
      reason: `node ${nodeName}`,
    })
    const verdict = mayRead(found.secret.policy, { id: node.id, tags: node.tags, workload }, Date.now())
    const reply: SecretExplainReply = {
      ...verdict,
      node: { id: node.id, name: node.name, tags: [...node.tags] },
    }
    return c.json(reply)
  })
  .get('/:name/recipients', requireRole('admin'), async (c) => {
    const name = await readName(c, 'secret.recipients')
    const found = await findSecret(c.env.DB, name)
    const policy = (await policyOfQuery(c)) ?? found?.secret.policy
    await audit(c, { actor: c.var.actor, action: 'secret.recipients', target: `secret:${name}` })
    const nodes = policy === undefined ? [] : await callFleet(c, (fleet) => fleet.readers(policy))
    const reply: SecretRecipients = {
      items: nodes.map(({ id, name, identity, seal, entry }) => ({
        id,
        name,
        identity,
        sealing: seal,
        entry,
      })),
    }
    return c.json(reply)
  })

/** Every version there is, for whoever compares the stores with the trail. */
export const secretVersionRoutes = new Hono<GatewayEnv>().get('/', requireRole('viewer'), async (c) => {
  const page = readPage(c, MAX_SECRET_PAGE)
  const after = readPlace(page.after)
  await audit(c, { actor: c.var.actor, action: 'secret.list', target: 'secrets', reason: 'every version' })
  const found = await listVersions(c.env.DB, after, page.limit)
  const now = Date.now()
  const items = found.map((one) => ({ name: one.name, ...versionItem(one.version, now) }))
  const last = items.at(-1)
  return c.json({ items, ...nextCursor(items, page, last && `${last.name}:${last.version}`) })
})

/** `NAME:VERSION` of the last one of the page before. */
function readPlace(text: string): { readonly name: string; readonly version: number } {
  const [, name, version] = /^([^:]+):([1-9][0-9]{0,14})$/.exec(text) ?? []
  if (name !== undefined) return { name, version: Number(version) }
  if (text === '') return { name: '', version: 0 }
  throw wrongCursor()
}

async function existing(c: GatewayContext, action: string): Promise<Found> {
  const name = await readName(c, action)
  const found = await findSecret(c.env.DB, name)
  if (found !== undefined) return found
  await recordRefusal(requestStores(c), actorOf(c), action, `secret:${name}`, refusal('E_SECRET_NOT_FOUND'))
  throw new RefusedError('E_SECRET_NOT_FOUND')
}

/** The letters of a name: it goes into the trail. */
function readPrefix(c: GatewayContext): string {
  const prefix = c.req.query('prefix') ?? ''
  if (/^[a-z0-9._/-]{0,253}$/.test(prefix)) return prefix
  throw new RefusedError('E_QUERY_INVALID', 'prefix is the beginning of a name')
}

const isDue = (due: string | null, now: number): boolean => due !== null && Date.parse(due) <= now
