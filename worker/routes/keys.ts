/** /v1/keys: the master keyring, of which nothing but numbers is ever shown, and moving what is stored to its active key. */
import { Hono } from 'hono'
import { callObject, REWRAP_OBJECT } from '../../durable-objects/call-object.ts'
import { orRefuse } from '../../protocol/refused-error.ts'
import { audit } from '../audit.ts'
import type { GatewayEnv } from '../context.ts'
import { requireRole } from '../middleware/require-role.ts'

export const keyRoutes = new Hono<GatewayEnv>()
  .use(requireRole('admin'))
  .get('/', async (c) => {
    await audit(c, { actor: c.var.actor, action: 'key.status', target: 'keyring' })
    return c.json(await callObject(c.env.KEY_REWRAP, REWRAP_OBJECT, (rewrap) => rewrap.status()))
  })
  .post('/rewrap', async (c) => {
    const { actor, requestId, config } = c.var
    await audit(c, {
      actor,
      action: 'key.rewrap',
      target: 'keyring',
      reason: `to version ${config.keyring.active}`,
    })
    orRefuse(
      await callObject(c.env.KEY_REWRAP, REWRAP_OBJECT, (rewrap) => rewrap.start(actor, requestId), {
        tries: 1,
      }),
    )
    return c.json(await callObject(c.env.KEY_REWRAP, REWRAP_OBJECT, (rewrap) => rewrap.status()), 202)
  })
