/** Guards of secret values. */
import { type Mutation, mutate } from './mutation.ts'

const SECRETS = ['gateway', 'gateway/secrets.test.ts'] as const
const POLICY = ['host', 'unit/secret-policy.test.ts'] as const
const CHANGES = ['gateway', 'gateway/secret-changes.test.ts'] as const
const BYTES = ['host', 'both/secret-bytes.test.ts'] as const
const EDGE = ['gateway', 'gateway/edge.test.ts'] as const

export const VALUES: readonly Mutation[] = [
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
