/**
 * /v1/node/audit: what a node needs in order to be a witness of the audit trail. Hashes only: what entries say is not for nodes. Every node asks
 * every hour, so that asking must cost no row.
 */
import { Hono } from 'hono'
import { RefusedError } from '../../protocol/refused-error.ts'
import type { GatewayEnv } from '../context.ts'
import { requireReadingNode } from '../middleware/require-node.ts'
import { askedTile, sendCheckpoint, sendConsistency, sendContinuation, sendTile } from './audit-tree.ts'

const PREFIX = '/v1/node/audit/'

export const nodeAuditRoutes = new Hono<GatewayEnv>()
  .use(requireReadingNode)
  .get('/continuation', sendContinuation)
  .get('/checkpoint', sendCheckpoint)
  .get('/consistency', sendConsistency)
  .get('/tile/*', (c) => {
    const tile = askedTile(c, PREFIX)
    if (tile.level === 'entries') throw new RefusedError('E_AUDIT_NOT_FOUND', 'entries are not for nodes')
    return sendTile(c, tile)
  })
