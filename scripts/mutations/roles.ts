/** Guards of roles and API keys. */
import { type Mutation, mutate } from './mutation.ts'

const MATRIX_OF_ROLES = ['gateway', 'gateway/roles.test.ts'] as const
const API_KEYS = ['gateway', 'gateway/api-keys.test.ts'] as const
const TAGS = ['gateway', 'gateway/node-tags.test.ts'] as const

export const ROLES: readonly Mutation[] = [
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
