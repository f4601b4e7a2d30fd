/** Guards of proofs, tokens and who is who. */
import { type Mutation, mutate } from './mutation.ts'

const SESSION = ['gateway', 'gateway/session.test.ts'] as const
const PROVES = [...SESSION, 'needs a proof by an enrolled node'] as const
const READS_ONCE = ['gateway', 'gateway/used-proofs.test.ts'] as const
const IDENTITY = ['gateway', 'gateway/identity.test.ts'] as const
const ENROL = ['gateway', 'gateway/enrol.test.ts'] as const
const EDGE = ['gateway', 'gateway/edge.test.ts'] as const

export const IDENTITIES: readonly Mutation[] = [
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
