/** GET /v1/audit: the audit trail, newest first. */
import { Hono } from 'hono'
import { AUDIT_OBJECT, callObject } from '../../durable-objects/call-object.ts'
import { audit } from '../audit.ts'
import { type GatewayEnv, RefusedError } from '../context.ts'
import { requireAdmin } from '../middleware/require-admin.ts'
import { nextCursor, readPage } from '../page.ts'

export const auditRoutes = new Hono<GatewayEnv>().get('/', requireAdmin, async (c) => {
  const page = readPage(c)
  const before = page.after === '' ? null : Number(page.after)
  if (before !== null && !Number.isSafeInteger(before))
    throw new RefusedError('E_QUERY_INVALID', 'the cursor is not one this gateway gave')
  await audit(c, { actor: c.var.actor, action: 'audit.list', target: 'audit' })
  const items = await callObject(c.env.AUDIT_LOG, AUDIT_OBJECT, (log) => log.list(before, page.limit))
  return c.json({ items, ...nextCursor(items, page, items.at(-1)?.seq.toString()) })
})
