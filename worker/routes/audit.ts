/** /v1/audit: the audit trail, as a list for people and as the files and proofs of a transparency log. */
import { Hono } from 'hono'
import { fromUtf8 } from '../../crypto/bytes.ts'
import { auditKeyTranscript, signAsGateway } from '../../crypto/gateway-proof.ts'
import {
  AuditArchiveBody,
  type AuditArchiveReply,
  type AuditEntryReply,
  type AuditKeyReply,
  type AuditList,
  AuditQuery,
  auditOrigin,
} from '../../protocol/audit.ts'
import { decodeEntry, itemOf } from '../../protocol/audit-entry.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import { audit, auditEvent, callAuditLog } from '../audit.ts'
import { auditReading } from '../audit-reading.ts'
import { readJson } from '../body.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { requireRole } from '../middleware/require-role.ts'
import { callFleet } from '../objects.ts'
import { encodeCursor, readPage } from '../page.ts'
import {
  askedTile,
  sendBundle,
  sendCheckpoint,
  sendConsistency,
  sendInclusion,
  sendTile,
} from './audit-tree.ts'

const PREFIX = '/v1/audit/'
/** Of an index; one that is longer is cut to one that no log reaches. */
const MAX_DIGITS = 15

export const auditRoutes = new Hono<GatewayEnv>()
  .use(requireRole('viewer'))
  .get('/', list)
  .get('/checkpoint', sendCheckpoint)
  .get('/key', async (c) => {
    const { id } = await callFleet(c, (fleet) => fleet.identity())
    const origin = auditOrigin(id)
    const gateway = await signAsGateway(c.var.config.signing, auditKeyTranscript(origin))
    return c.json({ origin, gateway } satisfies AuditKeyReply)
  })
  .get('/consistency', sendConsistency)
  .get('/inclusion', sendInclusion)
  .get('/tile/*', async (c) => {
    const tile = askedTile(c, PREFIX)
    if (tile.level !== 'entries') return sendTile(c, tile)
    await auditReading(c)
    return sendBundle(c, tile)
  })
  .get('/:index{[0-9]+}', async (c) => {
    await auditReading(c)
    const index = Number(c.req.param('index').slice(0, MAX_DIGITS))
    const bytes = orRefuse(await callAuditLog(c, (log) => log.entry(index)))
    const entry = decodeEntry(bytes)
    if (entry === undefined) throw new Error(`entry ${index} of the audit trail is not in its form`)
    return c.json({ ...itemOf(index, entry), text: fromUtf8(bytes) } satisfies AuditEntryReply)
  })
  .post('/archive', requireRole('admin'), async (c) => {
    const copy = await readJson(c, AuditArchiveBody)
    const event = auditEvent(c, { actor: c.var.actor, action: 'audit.archive', target: 'audit' })
    const below = orRefuse(await callAuditLog(c, (log) => log.archive(copy, event)))
    await callFleet(c, (fleet) => fleet.renewKeyEntries(below))
    return c.json({ below } satisfies AuditArchiveReply)
  })

async function list(c: GatewayContext): Promise<Response> {
  const query = AuditQuery.safeParse(c.req.query())
  if (!query.success) {
    const [issue] = query.error.issues
    throw new RefusedError('E_QUERY_INVALID', issue?.path.join('.') || 'a name is not one of a filter')
  }
  const { from, limit: _, cursor: __, ...filter } = query.data
  const page = readPage(c)
  const at = page.after === '' ? from : readIndex(page.after)
  // The first page of a list stands for all of it.
  if (at === undefined) await audit(c, { actor: c.var.actor, action: 'audit.list', target: 'audit' })
  else await auditReading(c)
  const order = from === undefined ? 'newest' : 'oldest'
  const { items, next, size } = await callAuditLog(c, (log) =>
    log.list({ order, limit: page.limit, ...(at !== undefined && { from: at }) }, filter),
  )
  return c.json({
    items,
    ...(next !== undefined && { next: encodeCursor(String(next)) }),
    ...(order === 'oldest' && { position: next ?? size }),
  } satisfies AuditList)
}

function readIndex(text: string): number {
  if (/^[0-9]{1,15}$/.test(text)) return Number(text)
  throw new RefusedError('E_QUERY_INVALID', 'the cursor is not one this gateway gave')
}
