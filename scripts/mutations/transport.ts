/** Guards of the transport. */
import { type Mutation, mutate } from './mutation.ts'

const EDGE = ['gateway', 'gateway/edge.test.ts'] as const
const IDENTITY = ['gateway', 'gateway/identity.test.ts'] as const
const MATRIX = ['host', 'host/gateway-connection.test.ts'] as const

export const TRANSPORT: readonly Mutation[] = [
  mutate(
    'plain HTTP is answered',
    ['worker/middleware/tls-only.ts', "if (!c.req.url.startsWith('https:')) return refusePlaintext(c)", ''],
    EDGE,
  ),
  mutate(
    'a leaked credential is not revoked',
    [
      'worker/middleware/tls-only.ts',
      'const leaked = await revokeLeaked(c)',
      'const leaked = revokeLeaked === undefined',
    ],
    [...IDENTITY, 'plain HTTP'],
  ),
  mutate(
    'old TLS is accepted',
    [
      'worker/middleware/tls-minimum.ts',
      "if (TOO_OLD.has(String(version))) throw new RefusedError('E_TLS_VERSION')",
      '',
    ],
    [...IDENTITY, 'old TLS'],
  ),
  mutate(
    'ws:// is accepted',
    ['host/gateway-url.ts', 'if (plaintext !== undefined) throw insecure(plaintext)', ''],
    ['host', 'host/gateway-url.test.ts'],
  ),
  mutate(
    'require_tls = false is accepted',
    ['host/require-tls.ts', 'if (value) return', 'if (value || !value) return'],
    ['host', 'findings/transport.test.ts', 'require_tls = false'],
  ),
  mutate(
    'certificates are not checked',
    ['host/gateway-agent.ts', 'rejectUnauthorized: true', 'rejectUnauthorized: false'],
    MATRIX,
  ),
  mutate(
    'the pin is not checked',
    ['host/gateway-agent.ts', 'if (pins.length === 0 || matchesPin(', 'if (pins.length >= 0 || matchesPin('],
    [...MATRIX, 'pin'],
  ),
  mutate(
    'any certificate that is sent along satisfies a pin',
    ['host/pins.ts', '|| !subject.verify(issuer.publicKey)) break', ') break'],
    ['host', 'findings/pinned-chain.test.ts'],
  ),
  mutate(
    'a mismatch names the pin that was expected',
    [
      'host/gateway-agent.ts',
      'return pinMismatch(this.#url)',
      'return Object.assign(pinMismatch(this.#url), { why: pins.join() })',
    ],
    [...MATRIX, 'does not say which pin'],
  ),
  mutate(
    'a redirect is followed',
    ['host/gateway-connection.ts', 'followRedirects: false', 'followRedirects: true'],
    ['host', 'findings/transport.test.ts', 'redirect'],
  ),
  mutate(
    'a redirect is taken for an answer',
    [
      'host/gateway-connection.ts',
      'if (status >= 300 && status < 400) {',
      'if (status >= 300 && status < 300) {',
    ],
    ['host', 'host/gateway-requests.test.ts', 'redirect'],
  ),
  mutate(
    'a CA file without a certificate is accepted',
    ['host/ca-file.ts', 'if (blocks.length === 0 || !blocks.every(isCertificate))', 'if (blocks.length < 0)'],
    [...MATRIX, 'a CA that is none'],
  ),
  mutate(
    'any key may sign for the gateway',
    ['crypto/gateway-proof.ts', 'if (!known.includes(proof.key) || ', 'if ('],
    [...IDENTITY, "the gateway's key"],
  ),
  mutate(
    'the gateway’s signature on a session is not checked',
    [
      'agent/gateway-keys.ts',
      'if (keys === undefined || !this.#accepted.includes(proof.key)) return false',
      'if (keys === undefined) return true',
    ],
    ['host', 'agent/gateway-key.test.ts', 'a session with somebody who lacks'],
  ),
  mutate(
    'the gateway’s signature on an enrolment is not checked',
    ['agent/enrolment.ts', 'if (gatewayKeys === undefined) throw wrongGatewayKey()', ''],
    ['host', 'agent/gateway-key.test.ts', 'impostor’s answer is not kept'],
  ),
  mutate(
    'another certificate in between is not noticed by the gateway',
    [
      'durable-objects/registration.ts',
      'claims.success && claims.data.jti === proof && ours.has(claims.data.spki)',
      'claims.success && claims.data.jti === proof',
    ],
    [...IDENTITY, 'the channel statement'],
  ),
]
