/** POST /v1/node/secrets: what a node's job needs (secrets/node-read.ts), over a connection of the job's own. */
import { Hono } from 'hono'
import { deliverySealer, knownSecrets } from '../../durable-objects/secret-stores.ts'
import { MAX_FETCH_BYTES } from '../../protocol/limits.ts'
import { orRefuse } from '../../protocol/refused-error.ts'
import { NodeSecretsBody } from '../../protocol/secrets.ts'
import { readForNode } from '../../secrets/node-read.ts'
import { parseJson } from '../body.ts'
import type { GatewayEnv } from '../context.ts'
import { requireRecordedNode } from '../middleware/require-node.ts'
import { signedReply } from '../middleware/signed-answer.ts'
import { provenStores } from '../secret-stores.ts'

const MOST = { bytes: MAX_FETCH_BYTES, code: 'E_SECRETS_TOO_LARGE' } as const

export const nodeSecretRoutes = new Hono<GatewayEnv>().post('/', requireRecordedNode, async (c) => {
  // One look: `c.var` is put together anew each time.
  const { node, proof, body, requestId } = c.var
  const wanted = parseJson(body, NodeSecretsBody)
  const read = { node, sealer: deliverySealer, request: proof.jti, requestId, most: MOST }
  return signedReply(c, orRefuse(await readForNode(provenStores(c), knownSecrets(c.env), wanted, read)))
})
