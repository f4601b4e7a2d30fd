/** The HTTP edge: what every request passes, in this order, and which route takes it. */
import { Hono } from 'hono'
import { isUnavailable } from '../durable-objects/call-object.ts'
import { ConfigError, readConfig } from '../durable-objects/config.ts'
import { problemResponse } from '../durable-objects/problem.ts'
import { RefusedError } from '../protocol/refused-error.ts'
import type { GatewayEnv } from './context.ts'
import { signedAnswer } from './middleware/signed-answer.ts'
import { tlsMinimum } from './middleware/tls-minimum.ts'
import { tlsOnly } from './middleware/tls-only.ts'
import { apiKeyRoutes, whoamiRoutes } from './routes/api-keys.ts'
import { auditRoutes } from './routes/audit.ts'
import { enrolRoutes } from './routes/enrol.ts'
import { keyRoutes } from './routes/keys.ts'
import { meshPeerRoutes } from './routes/mesh-peers.ts'
import { meshPolicyRoutes } from './routes/mesh-policy.ts'
import { meshStatusRoutes } from './routes/mesh-status.ts'
import { metricRoutes } from './routes/metrics.ts'
import { nodeAuditRoutes } from './routes/node-audit.ts'
import { nodeIdentityRoutes } from './routes/node-identity.ts'
import { nodeLeaveRoutes } from './routes/node-leave.ts'
import { nodeRelayRoutes } from './routes/node-relay.ts'
import { nodeSecretRoutes } from './routes/node-secrets.ts'
import { nodeWireguardKeyRoutes } from './routes/node-wireguard-key.ts'
import { nodeRoutes } from './routes/nodes.ts'
import { relayRoutes } from './routes/relay.ts'
import { secretMetadataRoutes, secretVersionRoutes } from './routes/secret-metadata.ts'
import { secretRoutes } from './routes/secrets.ts'
import { sessionRoutes } from './routes/session.ts'
import { tokenRoutes } from './routes/tokens.ts'

export const app = new Hono<GatewayEnv>()

app.use(async function requestId(c, next) {
  c.set('requestId', `req_${crypto.randomUUID()}`)
  await next()
  if (c.res.status !== 101) c.res.headers.set('claw-request', c.get('requestId'))
})
app.use('/v1/node/*', signedAnswer)
app.use('/v1/session', signedAnswer)
app.use(tlsOnly)
app.use(async function configured(c, next) {
  c.set('config', await readConfig(c.env))
  await next()
})

app.use(tlsMinimum)

app.get('/healthz', (c) => c.json({ status: 'ok' }))
app.route('/metrics', metricRoutes)
app.route('/v1/enrol', enrolRoutes)
app.route('/v1/session', sessionRoutes)
app.route('/v1/tokens', tokenRoutes)
app.route('/v1/nodes', nodeRoutes)
app.route('/v1/mesh/peers', meshPeerRoutes)
app.route('/v1/mesh', meshStatusRoutes)
app.route('/v1/secrets', secretRoutes)
app.route('/v1/secrets', secretMetadataRoutes)
app.route('/v1/secret-versions', secretVersionRoutes)
app.route('/v1/keys', keyRoutes)
app.route('/v1/mesh/policy', meshPolicyRoutes)
app.route('/v1/node/secrets', nodeSecretRoutes)
app.route('/v1/node/identity', nodeIdentityRoutes)
app.route('/v1/node/wireguard-key', nodeWireguardKeyRoutes)
app.route('/v1/node/leave', nodeLeaveRoutes)
app.route('/v1/node/audit', nodeAuditRoutes)
app.route('/v1/node/relay-grant', nodeRelayRoutes)
app.route('/v1/relay', relayRoutes)
app.route('/v1/audit', auditRoutes)
app.route('/v1/api-keys', apiKeyRoutes)
app.route('/v1/whoami', whoamiRoutes)

app.notFound((c) => problemResponse({ code: 'E_NOT_FOUND' }, c.var.requestId))

/** The only catch of the edge: a refusal says its code, anything else says nothing and is found in the log by the request id. */
app.onError((error, c) => {
  const { requestId } = c.var
  if (error instanceof RefusedError) return problemResponse(error.refusal, requestId)
  if (error instanceof ConfigError) {
    console.error({ event: 'not_configured', settings: error.settings })
    return problemResponse({ code: 'E_NOT_CONFIGURED' }, requestId)
  }
  console.error({ event: 'request_failed', requestId, error: String(error) })
  return problemResponse({ code: isUnavailable(error) ? 'E_UNAVAILABLE' : 'E_INTERNAL' }, requestId)
})
