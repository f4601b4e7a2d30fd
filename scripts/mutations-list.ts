/** Ways in which a guard could be lost, each with the test that must notice. */
import { AUDIT_TRAIL } from './mutations-of-audit.ts'
import { CHANGES_OF_SECRETS } from './mutations-of-changes.ts'
import { ENFORCEMENT } from './mutations-of-enforcement.ts'
import { KEYS_OF_THE_MESH } from './mutations-of-keys.ts'
import { LEAVING } from './mutations-of-leaving.ts'
import { MESH_POLICY } from './mutations-of-mesh-policy.ts'
import { WATCHED_MESH } from './mutations-of-mesh-watch.ts'
import { NAMES_OF_THE_MESH } from './mutations-of-names.ts'
import { NODE_SECRETS } from './mutations-of-node-secrets.ts'
import { OWNER_SECRETS } from './mutations-of-owner-secrets.ts'

export interface Mutation {
  readonly name: string
  readonly file: string
  /** Occurs exactly once in the file. */
  readonly search: string
  readonly replace: string
  readonly project: 'gateway' | 'host'
  /** Below test/. */
  readonly test: string
  /** Part of the titles to run; all of the file without it. */
  readonly title?: string
}

const mutate = (
  name: string,
  [file, search, replace]: readonly [string, string, string],
  [project, test, title]: readonly [Mutation['project'], string, string?],
): Mutation => ({ name, file, search, replace, project, test, ...(title !== undefined && { title }) })

const EDGE = ['gateway', 'gateway/edge.test.ts'] as const
const ENROL = ['gateway', 'gateway/enrol.test.ts'] as const
const IDENTITY = ['gateway', 'gateway/identity.test.ts'] as const
const SECRETS = ['gateway', 'gateway/secrets.test.ts'] as const
const CHANGES = ['gateway', 'gateway/secret-changes.test.ts'] as const
const POLICY = ['host', 'unit/secret-policy.test.ts'] as const
const SESSION = ['gateway', 'gateway/session.test.ts'] as const
const MATRIX_OF_ROLES = ['gateway', 'gateway/roles.test.ts'] as const
const API_KEYS = ['gateway', 'gateway/api-keys.test.ts'] as const
const TAGS = ['gateway', 'gateway/node-tags.test.ts'] as const
const READS_ONCE = ['gateway', 'gateway/used-proofs.test.ts'] as const
const PROVES = [...SESSION, 'needs a proof by an enrolled node'] as const
const FRAMES = [...SESSION, 'with its code'] as const
const FILES = ['host', 'host/private-file.test.ts'] as const
const MATRIX = ['host', 'host/gateway-connection.test.ts'] as const
const BYTES = ['host', 'both/secret-bytes.test.ts'] as const
const LOG = ['host', 'agent/log.test.ts'] as const
const IMPOSTOR = ['host', 'agent/impostor.test.ts'] as const
const SIGNED = ['gateway', 'gateway/signed-answer.test.ts'] as const
const FAILURE = ['gateway', 'gateway/frame-failure.test.ts'] as const
const SOCKET = ['host', 'cli/public-socket.test.ts'] as const
const FUZZ_FRAMES = ['host', 'fuzz/frames.test.ts'] as const

const TRANSPORT: readonly Mutation[] = [
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

const KEY_FILES: readonly Mutation[] = [
  mutate(
    'a key file is 0644',
    ['host/private-file.ts', 'const PRIVATE = 0o600', 'const PRIVATE = 0o644'],
    FILES,
  ),
  mutate(
    'a key file is wider for a moment',
    ['host/private-file.ts', 'O_EXCL | O_NOFOLLOW, PRIVATE)', 'O_EXCL | O_NOFOLLOW, 0o666)'],
    ['host', 'findings/private-file-window.test.ts'],
  ),
  mutate(
    'a private directory is 0755',
    [
      'host/private-file.ts',
      'mkdirSync(path, { recursive: true, mode: 0o700 })',
      'mkdirSync(path, { recursive: true, mode: 0o755 })',
    ],
    FILES,
  ),
  mutate(
    'an open directory is accepted',
    [
      'host/private-file.ts',
      "if ((status.mode & OTHERS) !== 0) throw unsafe(path, 'others can open it',",
      "if (status.mode < 0) throw unsafe(path, 'others can open it',",
    ],
    FILES,
  ),
  mutate(
    'a symlink is read',
    ['host/private-file.ts', 'constants.O_RDONLY | constants.O_NOFOLLOW |', 'constants.O_RDONLY |'],
    FILES,
  ),
  mutate(
    'a file that others can read is accepted',
    [
      'host/private-file.ts',
      "if ((status.mode & OTHERS) !== 0) throw unsafe(path, 'others can read it',",
      "if (status.mode < 0) throw unsafe(path, 'others can read it',",
    ],
    FILES,
  ),
  mutate(
    'creating overwrites',
    [
      'host/private-file.ts',
      'linkSync(temporary, path)',
      'renameSync(temporary, path); writeExclusively(temporary, content)',
    ],
    [...FILES, 'overwrites'],
  ),
  mutate(
    'a failed write leaves its half behind',
    ['host/private-file.ts', 'rmSync(temporary, { force: true })\n    throw error', 'throw error'],
    [...FILES, 'failed write'],
  ),
  mutate(
    'a malformed key is repeated',
    ['agent/node-keys.ts', 'throw damaged(path)', 'throw damaged(path + text)'],
    ['host', 'agent/node-files.test.ts', 'refused without a word'],
  ),
]

const WORDS: readonly Mutation[] = [
  mutate('session ids are not masked', ['agent/log.ts', ".replace(UUID, '$1…')", ''], LOG),
  mutate('tokens are not scrubbed', ['agent/log.ts', ".replace(JWT, '[REDACTED token]')", ''], LOG),
  mutate('keys are not scrubbed', ['agent/log.ts', ".replace(KEY, '[REDACTED key]')", ''], LOG),
  mutate(
    'a masked id shows itself',
    [
      'protocol/masked-id.ts',
      'toJSON(): string {\n    return this.toString()',
      'toJSON(): string {\n    return this.#id',
    ],
    ['host', 'findings/secret-forms.test.ts', 'a masked id'],
  ),
  mutate(
    'the argument list is in the error of a command',
    [
      'agent/mesh/exec.ts',
      'reject(new CommandError(program, failure, {',
      "reject(new CommandError([program, ...args].join(' '), failure, {",
    ],
    ['host', 'mesh/exec.test.ts', 'M3.3'],
  ),
  mutate(
    'a key that a command prints is in its error',
    ['agent/mesh/exec.ts', 'const detail = withoutKeys(', 'const detail = String('],
    ['host', 'mesh/exec.test.ts', 'M3.3'],
  ),
  mutate(
    'a refusal of a body repeats it',
    [
      'protocol/request-body.ts',
      "err(refusal('E_BODY_INVALID', 'the body is not JSON'))",
      "err(refusal('E_BODY_INVALID', new TextDecoder().decode(body as Uint8Array)))",
    ],
    ['host', 'findings/outside.test.ts', 'M3.6'],
  ),
  mutate(
    'a failure is told to the client',
    [
      'worker/app.ts',
      "isUnavailable(error) ? 'E_UNAVAILABLE' : 'E_INTERNAL' }, requestId)",
      "isUnavailable(error) ? 'E_UNAVAILABLE' : 'E_INTERNAL', detail: String(error) }, requestId)",
    ],
    ['host', 'findings/audit-first.test.ts'],
  ),
  mutate(
    'the agent logs the fields of a frame',
    [
      'agent/session/gateway-frame.ts',
      "log.warn('the gateway sent a frame with wrong fields', {",
      "log.warn('the gateway sent a frame with wrong fields' + text, {",
    ],
    [...FUZZ_FRAMES, 'logs nothing'],
  ),
]

const IDENTITIES: readonly Mutation[] = [
  mutate(
    'a proof may be used again',
    [
      'durable-objects/replay-cache.ts',
      'if (this.#seen.has(jti)) return false',
      'if (this.#seen.has(jti)) return true',
    ],
    PROVES,
  ),
  mutate(
    'the proof of a read may be used again',
    [
      'durable-objects/used-proofs.ts',
      'return usedFor === request ? undefined : refusal',
      'return usedFor !== request ? undefined : refusal',
    ],
    READS_ONCE,
  ),
  mutate(
    'the proof of a read is used up by an entry that was not written',
    ['durable-objects/audit-log.ts', '      this.#proofs.forget()\n', ''],
    READS_ONCE,
  ),
  mutate(
    'the proof of a read is good when it may have been forgotten',
    ['durable-objects/used-proofs.ts', 'if (now >= goneAt)', 'if (now >= goneAt + 1000)'],
    READS_ONCE,
  ),
  mutate(
    'the proof of a read is used up by no entry',
    [
      'worker/secret-stores.ts',
      'log.appendProven(events, proof, requestId)',
      'log.appendProven(events, { ...proof, jti: requestId }, requestId)',
    ],
    READS_ONCE,
  ),
  mutate(
    'a proof is for any method',
    ['crypto/request-proof.ts', 'claims.htm !== request.method || ', ''],
    PROVES,
  ),
  mutate(
    'a proof is for any path',
    ['crypto/request-proof.ts', 'claims.htu !== request.path || ', ''],
    PROVES,
  ),
  mutate(
    'a proof is for any body',
    ['crypto/request-proof.ts', ' || claims.bh !== request.bodyHash', ''],
    PROVES,
  ),
  mutate(
    'a proof is for any gateway',
    ['crypto/request-proof.ts', "if (!origins.has(claims.aud)) return err(refusal('E_PROOF_AUDIENCE'))", ''],
    PROVES,
  ),
  mutate(
    'a proof lasts for ever',
    [
      'crypto/request-proof.ts',
      "return isTimely(claims, now) ? ok(claims) : err(refusal('E_PROOF_EXPIRED'))",
      'return ok(claims)',
    ],
    PROVES,
  ),
  mutate(
    'a proof may claim a long life',
    ['crypto/request-proof.ts', 'expires - issued <= PROOF_LIFETIME_MS &&', ''],
    ['host', 'fuzz/proofs.test.ts', 'longer than a minute'],
  ),
  mutate(
    'a proof needs no signature',
    [
      'crypto/request-proof.ts',
      "crypto.subtle.verify('Ed25519', key, bytes, new Uint8Array(signed))",
      'signed !== undefined',
    ],
    PROVES,
  ),
  mutate(
    'a removed node is let in',
    [
      'durable-objects/node-authenticator.ts',
      "if (node.record.removed) return err(refusal('E_NODE_REMOVED'))",
      '',
    ],
    [...SESSION, 'removed node'],
  ),
  mutate(
    'a node in quarantine is let in',
    [
      'durable-objects/node-authenticator.ts',
      "if (node.record.quarantine !== undefined) return err(refusal('E_NODE_QUARANTINED'))",
      '',
    ],
    [...IDENTITY, 'quarantine'],
  ),
  mutate(
    'a used-up token is accepted',
    ['worker/join-tokens.ts', 'used < uses AND expires_at', 'expires_at'],
    [...ENROL, 'without taking a second use'],
  ),
  mutate(
    'an expired token is accepted',
    ['worker/join-tokens.ts', ' AND expires_at > ?3 AND', ' AND'],
    [...ENROL, 'apart'],
  ),
  mutate(
    'a revoked token is accepted',
    [
      'worker/join-tokens.ts',
      "return row.revoked_at === null ? ok(row) : err(refusal('E_TOKEN_REVOKED'))",
      'return ok(row)',
    ],
    [...ENROL, 'apart'],
  ),
  mutate(
    'a token is stored in clear',
    ['worker/join-tokens.ts', '.bind(token.id, hashApiToken(token.token),', '.bind(token.id, token.token,'],
    [...ENROL, 'only its hash'],
  ),
  mutate(
    'an enrolment is good for any token',
    [
      'worker/routes/enrol.ts',
      'if (claims.data.token !== (await tokenHash(token)))',
      'if (claims.data.token === tokenHash.name)',
    ],
    [...ENROL, 'signed by another key'],
  ),
  mutate(
    'any admin token is right',
    [
      'worker/middleware/require-role.ts',
      'if (equalBytes(utf8(hash), ',
      'if (hash || equalBytes(utf8(hash), ',
    ],
    [...EDGE, 'admin token'],
  ),
  mutate(
    'a revoked admin token is right',
    [
      'worker/middleware/require-role.ts',
      'if (await isRevoked(c.env.DB, hash))',
      'if (isRevoked === undefined)',
    ],
    [...IDENTITY, 'plain HTTP'],
  ),
  mutate(
    'a clone is let in',
    ['durable-objects/sessions.ts', 'if (generation <= reached) return false', ''],
    [...IDENTITY, 'a clone'],
  ),
  mutate(
    'refused credentials are not limited',
    ['worker/rate-limit.ts', 'if (prefix !== undefined && !take(', 'if (prefix === undefined && !take('],
    [...IDENTITY, 'rate limits'],
  ),
]

const SESSIONS: readonly Mutation[] = [
  mutate(
    'unknown fields of a frame are accepted',
    [
      'protocol/frames.ts',
      'export const RegisterFrame = z.strictObject({',
      'export const RegisterFrame = z.looseObject({',
    ],
    FRAMES,
  ),
  mutate(
    'a frame with a private key is accepted',
    [
      'durable-objects/frame-reader.ts',
      "if (PRIVATE_KEY_FIELD.test(message)) return err('E_FRAME_PRIVATE_KEY')",
      '',
    ],
    FRAMES,
  ),
  mutate(
    'a frame that names a node is accepted',
    [
      'durable-objects/frame-reader.ts',
      "if (NODE_FIELDS.some((field) => field in json)) return err('E_FRAME_FOREIGN_ID')",
      '',
    ],
    FRAMES,
  ),
  mutate(
    'an oversize frame is read',
    [
      'durable-objects/frame-reader.ts',
      "if (byteLength(message) > MAX_FRAME_BYTES) return err('E_FRAME_TOO_LARGE')",
      '',
    ],
    FRAMES,
  ),
  mutate(
    'sizes are counted in characters',
    [
      'durable-objects/frame-reader.ts',
      'return encoder.encode(text).length',
      'return encoder === undefined ? 0 : text.length',
    ],
    [...FUZZ_FRAMES, 'X3'],
  ),
  mutate(
    'violations are not counted',
    ['durable-objects/session-ends.ts', 'if (violations >= MAX_VIOLATIONS)', 'if (violations < 0)'],
    [...SESSION, 'third refusal'],
  ),
  mutate(
    'floods are not slowed',
    [
      'durable-objects/session-shard.ts',
      "if (!this.#sessions.mayReceive(socket, Date.now())) return this.#ends.violation(socket, 'E_FRAME_RATE')",
      '',
    ],
    [...SESSION, 'E_FRAME_RATE'],
  ),
  mutate(
    'nobody waits for `register`',
    [
      'durable-objects/session-ends.ts',
      "this.refuse(socket, 'E_REGISTER_TIMEOUT', CLOSE.registerTimeout)",
      'return',
    ],
    [...SESSION, 'register comes too late'],
  ),
  mutate(
    'a second session leaves the first',
    [
      'durable-objects/session-start.ts',
      "for (const socket of older) ends.refuse(socket, 'E_SESSION_SUPERSEDED', CLOSE.superseded)",
      '',
    ],
    [...SESSION, 'two sessions of one node'],
  ),
  mutate(
    'a lease never ends',
    ['durable-objects/presence.ts', "if (age >= OFFLINE_AFTER_MS) return 'offline'", ''],
    [...SESSION, 'ends as a lease'],
  ),
  mutate(
    'a removed node keeps its socket',
    ['durable-objects/session-shard.ts', "this.#ends.close(socket, CLOSE.removed, 'E_NODE_REMOVED')", ''],
    [...SESSION, 'is refused to a removed node'],
  ),
]

const VALUES: readonly Mutation[] = [
  mutate(
    'every node may read every secret',
    ['protocol/secret-policy.ts', 'return deny(...nearest(policy, reader, now))', "return allow('')"],
    [...SECRETS, 'denied'],
  ),
  mutate(
    'a rule that names one node speaks of all',
    [
      'protocol/secret-policy.ts',
      'rule.nodes.some((node) => node.id === id) ||',
      'rule.nodes.some((node) => node.id !== undefined) ||',
    ],
    [...SECRETS, 'taken the name'],
  ),
  mutate(
    'a rule that denies does not win',
    ['protocol/secret-policy.ts', 'if (denying >= 0)', 'if (denying > 99)'],
    [...POLICY, 'decided against'],
  ),
  mutate(
    'nothing expires',
    [
      'protocol/secret-policy.ts',
      'expires !== null && Date.parse(expires) <= now',
      'expires !== null && Date.parse(expires) <= now - 1e15',
    ],
    [...POLICY, 'says what was missing'],
  ),
  mutate(
    'an older version is readable for ever',
    ['secrets/state.ts', '(version.readableUntil ?? 0) > now', '(version.readableUntil ?? now) >= 0'],
    ['gateway', 'gateway/secret-versions.test.ts', 'overlap'],
  ),
  mutate(
    'a denied read is recorded as allowed',
    ['secrets/read.ts', "outcome: 'denied', reason:", "outcome: 'allowed', reason:"],
    [...SECRETS, 'denied to a node without right'],
  ),
  mutate(
    'what is known of a secret is believed for ever',
    ['secrets/read.ts', 'stamp !== before[index]?.stamp', 'stamp === undefined'],
    [...CHANGES, 'anew after every change'],
  ),
  mutate(
    'a value that was replaced while it was read is called destroyed',
    ['secrets/read.ts', "used.error.code !== 'E_SECRET_DESTROYED'", 'used.error.code !== undefined'],
    ['gateway', 'gateway/secret-crashes.test.ts', 'the only one that is kept'],
  ),
  mutate(
    'a change that happened is called undone',
    ['secrets/change.ts', '[applied, ...revised,', '[...revised,'],
    [...CHANGES, 'after it happened'],
  ),
  mutate(
    'a change that was given up can still happen',
    [
      'secrets/change.ts',
      "VALUES (?, 'abandoned', ?) ON CONFLICT",
      "SELECT ?, 'abandoned', ? WHERE 0 ON CONFLICT",
    ],
    [...CHANGES, 'before it happened'],
  ),
  mutate(
    'an action goes on without its entry',
    [
      'worker/audit.ts',
      'return callAuditLog(c, (log) => log.append(events))',
      'return callAuditLog(c, (log) => log.append(events)).catch(() => ({ first: 0, stamps: [] }))',
    ],
    ['host', 'findings/audit-first.test.ts'],
  ),
  mutate(
    'an answer is for any request',
    [
      'crypto/delivery.ts',
      'lengthPrefixed(fleet, name, String(version), request)',
      'lengthPrefixed(fleet, name, String(version))',
    ],
    ['host', 'findings/delivery.test.ts'],
  ),
  mutate(
    'nonces are fixed',
    [
      'crypto/secret-frame.ts',
      'nonce = randomBytes(NONCE_BYTES)',
      'nonce = randomBytes(NONCE_BYTES).fill(0)',
    ],
    [...BYTES, 'nonce'],
  ),
  mutate(
    'one key for every secret',
    ['crypto/secret-frame.ts', 'utf8(DOMAIN.secretKey + name)', 'utf8(DOMAIN.secretKey + name.slice(99))'],
    [...BYTES, 'under its own name'],
  ),
  mutate(
    'a damaged frame opens',
    [
      'crypto/secret-frame.ts',
      "  } catch {\n    return err('corrupt')",
      '  } catch {\n    return ok(SecretBytes.take(frame.slice()))',
    ],
    [...BYTES, 'any byte has changed'],
  ),
  mutate(
    'secret bytes print themselves',
    [
      'crypto/secret-bytes.ts',
      'toJSON(): string {\n    return this.toString()',
      'toJSON(): string {\n    return String(this.#bytes)',
    ],
    BYTES,
  ),
  mutate(
    'inspecting shows secret bytes',
    [
      'crypto/secret-bytes.ts',
      "[Symbol.for('nodejs.util.inspect.custom')](): string {\n    return this.toString()",
      "[Symbol.for('nodejs.util.inspect.custom')](): string {\n    return String(this.#bytes)",
    ],
    ['host', 'findings/secret-forms.test.ts'],
  ),
  mutate(
    'a beginning equals the whole',
    [
      'crypto/secret-bytes.ts',
      'return mine.length === theirs.length && equalBytes(mine, theirs)',
      'return equalBytes(mine.subarray(0, theirs.length), theirs.subarray(0, mine.length))',
    ],
    ['host', 'findings/secret-forms.test.ts', 'I1.2'],
  ),
  mutate('a wipe wipes nothing', ['crypto/secret-bytes.ts', 'this.#bytes?.fill(0)', ''], [...BYTES, 'wipe']),
  mutate(
    'a gateway without a keyring runs open',
    ['durable-objects/config.ts', '    throw new ConfigError(wrong)', '    console.log(wrong)'],
    [...EDGE, '503'],
  ),
  mutate(
    'a Keyring of short keys is taken',
    [
      'crypto/keyring.ts',
      'if (bytes?.length !== KEY_BYTES) return undefined',
      'if (bytes === undefined) return undefined',
    ],
    ['host', 'findings/delivery.test.ts', 'keyring'],
  ),
  mutate(
    'a large body is read',
    ['worker/body.ts', 'if (length > limit) {', 'if (length < 0) {'],
    ['host', 'findings/outside.test.ts', 'chunked'],
  ),
]

const EMBEDDED: readonly Mutation[] = [
  mutate(
    'a request for no host or several reaches the gateway',
    [
      'worker/embedded.ts',
      "namesOneTarget(request) ? gateway.fetch(request, env, ctx) : refuse('E_TARGET_INVALID')",
      'gateway.fetch(request, env, ctx)',
    ],
    [...SOCKET, 'bytes that no HTTP client sends'],
  ),
  mutate(
    "Miniflare's own entry does what anybody says",
    ['worker/embedded.ts', "if (!isKeeper(request.headers.get('claw-keeper'), env))", 'if (false)'],
    ['gateway', 'gateway/embedded.test.ts', 'nobody without the key'],
  ),
  mutate(
    "the public socket is bound to Miniflare's door",
    ['cli/up/public-socket.ts', ', entrypoint: ENTRYPOINT', ''],
    ['host', 'cli/embedded-gateway.test.ts', 'what the socket says'],
  ),
  mutate(
    "a client speaks Cloudflare's word",
    ['cli/up/public-socket.ts', "options: { injectRequestHeaders: [{ name: 'CF-Connecting-IP' }] },", ''],
    ['host', 'cli/embedded-gateway.test.ts', 'what the socket says'],
  ),
  mutate(
    'who guesses at an embedded gateway is not slowed',
    ['worker/rate-limit.ts', "typeof peer === 'string' ?", "typeof peer === 'number' ?"],
    [...SOCKET, 'who guesses'],
  ),
  mutate(
    'settings that do not start are kept',
    ['cli/up/embedded-gateway.ts', 'await apply(before)', ''],
    ['host', 'cli/embedded-gateway.test.ts', 'given up'],
  ),
  mutate(
    'a master key is replaced under its number',
    [
      'cli/up/keyring-file.ts',
      'if (was !== undefined && is !== undefined && !was.equals(is))',
      'if (was === is)',
    ],
    ['host', 'cli/keyring-file.test.ts', 'no other key'],
  ),
  mutate(
    'the master key in use is taken away',
    ['cli/up/keyring-file.ts', 'if (version === active) throw isActive(version)', ''],
    ['host', 'cli/keyring-file.test.ts', 'in use'],
  ),
  mutate(
    'two commands change the keyring at once',
    ['cli/up/keyring-file.ts', 'if (lock === undefined) throw isBeingEdited(path)', ''],
    ['host', 'cli/keyring-file.test.ts', 'stuck'],
  ),
  mutate(
    'a reload makes anew what is missing',
    ['cli/up/key-files.ts', "if (readText(path) === undefined) throw damaged(path, 'it is missing')", ''],
    ['host', 'cli/reload.test.ts', 'refused in one line'],
  ),
]

const ROLES: readonly Mutation[] = [
  mutate(
    'any role suffices',
    ['worker/middleware/require-role.ts', 'if (!includesRole(role, needed)) {', 'if (role === undefined) {'],
    [...MATRIX_OF_ROLES, 'for the role'],
  ),
  mutate(
    'roles are compared the wrong way round',
    ['protocol/roles.ts', 'rankOf(has) >= rankOf(needs)', 'rankOf(has) <= rankOf(needs)'],
    [...MATRIX_OF_ROLES, 'for the role'],
  ),
  mutate(
    'a name that is no role suffices',
    ['protocol/roles.ts', 'rankOf(has) >= rankOf(needs)', '!(rankOf(has) < rankOf(needs))'],
    ['host', 'unit/roles.test.ts'],
  ),
  mutate(
    'a role that is too low leaves no trace',
    ['worker/middleware/require-role.ts', "await auditDenied(c, actor, 'E_ROLE_DENIED', ", 'String('],
    [...MATRIX_OF_ROLES, 'for the role'],
  ),
  mutate(
    'an operator makes API keys',
    ['worker/routes/api-keys.ts', ".use(requireRole('admin'))", ".use(requireRole('operator'))"],
    [...API_KEYS, 'makes and ends no key'],
  ),
  mutate(
    'an API key outlives the one that made it',
    ['worker/routes/api-keys.ts', 'if (end !== null && (', 'if (end === 0 && ('],
    [...API_KEYS, 'outlives it'],
  ),
  mutate(
    'an expired API key is good',
    [
      'worker/api-keys.ts',
      "if (expires_at !== null && expires_at <= (revoked_at ?? now)) return 'expired'",
      '',
    ],
    [...API_KEYS, 'once it has ended'],
  ),
  mutate(
    'a revoked API key is good',
    ['worker/api-keys.ts', "return revoked_at === null ? 'valid' : 'revoked'", "return 'valid'"],
    [...API_KEYS, 'after its revocation'],
  ),
  mutate(
    'an API key is stored in clear',
    [
      'worker/routes/api-keys.ts',
      'storeApiKey(c.env.DB, key, hashApiToken(token))',
      'storeApiKey(c.env.DB, key, token)',
    ],
    [...API_KEYS, 'as a hash only'],
  ),
  mutate(
    'an API key that came in clear stays good',
    ['worker/leaked-credentials.ts', 'await revokeApiKey(c.env.DB, key.id, Date.now())', ''],
    [...API_KEYS, 'trail says so once'],
  ),
  mutate(
    'a shard keeps tags that were taken away',
    [
      'durable-objects/node-attributes.ts',
      'await shards.call(id, (shard) => shard.forget(id))\n    return ok(tags)',
      'return ok(tags)',
    ],
    [...TAGS, 'a secret for a tag'],
  ),
]

const ANSWERS: readonly Mutation[] = [
  mutate(
    'an answer is believed without a look at its signature',
    [
      'agent/node-client.ts',
      'const answer = await authenticate(received, jwt, this.#options.gatewayKeys)',
      'const answer = { ok: true as boolean, value: received, error: authenticate }',
    ],
    [...IMPOSTOR, 'a reply'],
  ),
  mutate(
    'an answer is believed whoever has signed it',
    ['agent/gateway-answer.ts', 'return genuine ? ok(', 'return genuine !== undefined ? ok('],
    [...IMPOSTOR, 'is not taken for'],
  ),
  mutate(
    'a refusal is believed unsigned',
    [
      'agent/gateway-answer.ts',
      'status >= 300) return err(notTheGatewaysAnswer(status))',
      'status >= 300) return notTheGatewaysAnswer && ok({ status, body })',
    ],
    [...IMPOSTOR, 'without a signature'],
  ),
  mutate(
    'an unsigned refusal of an upgrade is a verdict',
    [
      'agent/session/session-end.ts',
      'const answer = await authenticate({ status, headers, body })',
      'const answer = { ok: authenticate !== undefined, value: { status, body }, error: undefined as never }',
    ],
    [...IMPOSTOR, 'in place of a session'],
  ),
  mutate(
    'a close code is a verdict before the gateway has proved itself',
    [
      'agent/session/session.ts',
      '(proved ? closed : closedUnproved)',
      '(proved ? closed : closedUnproved && closed)',
    ],
    [...IMPOSTOR, 'before `registered`'],
  ),
  mutate(
    'an impostor’s Retry-After silences a node',
    [
      'agent/session/backoff.ts',
      'Math.min(MAX_RETRY_AFTER_MS, Math.max(0, retryAfterMs ?? 0))',
      'Math.max(0, retryAfterMs ?? 0)',
    ],
    ['host', 'agent/session.test.ts', 'Retry-After'],
  ),
  mutate(
    'an answer that was overtaken brings the old gateway key back',
    [
      'agent/gateway-keys.ts',
      'keys === undefined || !this.#accepted.includes(proof.key)',
      'keys === undefined',
    ],
    [...IMPOSTOR, 'that cross'],
  ),
  mutate(
    'the signature of an answer is for any proof',
    ['crypto/gateway-proof.ts', 'await bodyHash(utf8(proof))', 'await bodyHash(utf8(proof.slice(0, 20)))'],
    [...SIGNED, 'another proof with the same id'],
  ),
  mutate(
    'the signature of an answer is for any status',
    ['crypto/gateway-proof.ts', 'String(status)', "'200'"],
    [...SIGNED, 'each kind of refusal'],
  ),
  mutate(
    'the signature of an answer is for any body',
    [
      'crypto/gateway-proof.ts',
      'String(status), await bodyHash(body))',
      'String(status), await bodyHash(body.slice(0, 0)))',
    ],
    [...SIGNED, 'each kind of refusal'],
  ),
  mutate(
    'the refusals of an upgrade are not signed',
    ['worker/app.ts', "app.use('/v1/session', signedAnswer)", ''],
    [...SIGNED, 'refusals of an upgrade'],
  ),
  mutate(
    'a node’s requests are answered unsigned',
    ['worker/app.ts', "app.use('/v1/node/*', signedAnswer)", ''],
    [...SIGNED, 'each kind of refusal'],
  ),
  mutate(
    'whoever sends no proof gets a signature',
    ['worker/middleware/signed-answer.ts', 'proof === undefined || ', ''],
    [...SIGNED, 'no signature'],
  ),
  mutate(
    'a frame that fails is not answered',
    ['durable-objects/session-shard.ts', '      this.#ends.failed(socket, error)', '      throw error'],
    FAILURE,
  ),
  mutate(
    'a register that failed leaves its socket open',
    [
      'durable-objects/session-ends.ts',
      'else this.refuse(socket, code, CLOSE.failed)',
      'else sendError(socket, code)',
    ],
    [...FAILURE, 'has not begun'],
  ),
  mutate(
    'a frame that fails shows the whole id of its session',
    ['durable-objects/session-ends.ts', 'session: String(new MaskedId(proof))', 'session: proof'],
    [...FAILURE, 'has not begun'],
  ),
]

export const MUTATIONS: readonly Mutation[] = [
  ...TRANSPORT,
  ...KEY_FILES,
  ...WORDS,
  ...IDENTITIES,
  ...SESSIONS,
  ...VALUES,
  ...EMBEDDED,
  ...ROLES,
  ...ANSWERS,
  ...ENFORCEMENT,
  ...KEYS_OF_THE_MESH,
  ...LEAVING,
  ...NAMES_OF_THE_MESH,
  ...MESH_POLICY,
  ...WATCHED_MESH,
  ...NODE_SECRETS,
  ...OWNER_SECRETS,
  ...AUDIT_TRAIL,
  ...CHANGES_OF_SECRETS,
]
