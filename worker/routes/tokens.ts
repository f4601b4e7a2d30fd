/** /v1/tokens: join tokens. */
import { Hono } from 'hono'
import { TokenCreateBody, TokenCreateReply, TokenList } from '../../protocol/http.ts'
import { TokenId } from '../../protocol/ids.ts'
import { RefusedError } from '../../protocol/refused-error.ts'
import { audit } from '../audit.ts'
import { readJson } from '../body.ts'
import type { GatewayEnv } from '../context.ts'
import { listTokens, makeToken, revokeToken, storeToken } from '../join-tokens.ts'
import { requireRole } from '../middleware/require-role.ts'

export const tokenRoutes = new Hono<GatewayEnv>()
  .use(requireRole('viewer'))
  .post('/', requireRole('operator'), async (c) => {
    const wanted = await readJson(c, TokenCreateBody)
    const now = Date.now()
    const token = await makeToken(c.var.config, wanted, now)
    await audit(c, {
      actor: c.var.actor,
      action: 'token.create',
      target: `token:${token.id}`,
      reason: `uses ${wanted.uses}, tags ${wanted.tags.join(' ') || 'none'}`,
    })
    await storeToken(c.env.DB, token, wanted, now)
    const expiresAt = new Date(token.expiresAt).toISOString()
    return c.json(TokenCreateReply.parse({ token: token.token, id: token.id, expiresAt }), 201)
  })
  .get('/', async (c) => {
    await audit(c, { actor: c.var.actor, action: 'token.list', target: 'tokens' })
    return c.json(TokenList.parse({ items: await listTokens(c.env.DB, Date.now()) }))
  })
  .delete('/:id', requireRole('operator'), async (c) => {
    const id = TokenId.safeParse(c.req.param('id'))
    if (!id.success) throw new RefusedError('E_NOT_FOUND', 'there is no such join token')
    const entry = { actor: c.var.actor, action: 'token.revoke', target: `token:${id.data}` }
    const { first } = await audit(c, entry)
    if (!(await revokeToken(c.env.DB, id.data, Date.now()))) {
      await audit(c, { ...entry, outcome: 'failed', reason: 'E_NOT_FOUND', detail: { of: first } })
      throw new RefusedError('E_NOT_FOUND', 'there is no such join token')
    }
    return c.body(null, 204)
  })
