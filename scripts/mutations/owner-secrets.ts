/** Guards of whoever writes and reads secrets with `claw`. */
import { type Mutation, mutate } from './mutation.ts'

export const OWNER_SECRETS: readonly Mutation[] = [
  mutate(
    'sealing: a file opens as any secret',
    [
      'host/age.ts',
      'if (secret === undefined || ageSecretName(file) === secret) return ok(value)',
      'return ok(value)',
    ],
    ['host', 'host/age.test.ts', 'the name of its secret'],
  ),
  mutate(
    'sealing: a key that is not proven is sealed to',
    ['cli/secrets/recipient-proof.ts', 'if (!checked.ok) throw unproven(next, checked.error)', ''],
    ['host', 'cli/lying-gateway.test.ts', 'slips in a key'],
  ),
  mutate(
    'sealing: a key that has changed is taken for the known one',
    ['cli/secrets/seal-memory.ts', "known === sealing ? 'known' : 'changed'", "known && 'known'"],
    ['host', 'cli/lying-gateway.test.ts', 'another key than before'],
  ),
  mutate(
    'sealing: what was sealed is sent in clear if the gateway calls it managed',
    [
      'cli/secrets/write-secret.ts',
      'if (sealedBefore && as === undefined) throw wasSealed',
      'void wasSealed',
    ],
    ['host', 'cli/secret-downgrade.test.ts'],
  ),
  mutate(
    'reading: another version is taken for the one that was asked for',
    ['cli/secrets/read-secret.ts', 'if (wanted !== undefined && version !== wanted)', 'if (version === 0)'],
    ['host', 'cli/lying-gateway.test.ts', 'another question'],
  ),
  mutate(
    'trail: a stored ciphertext need not be the one its entry names',
    ['cli/secrets/trail-versions.ts', 'if (row.sha256 !== expected.sha256)', 'if (row.sha256 === "")'],
    ['host', 'cli/trail-versions.test.ts', 'exchanges its ciphertext'],
  ),
  mutate(
    'trail: what was destroyed may be there again',
    [
      'cli/secrets/trail-versions.ts',
      "row.state === 'destroyed' ? undefined : 'was destroyed,",
      "row.state !== '' ? undefined : 'was destroyed,",
    ],
    ['host', 'cli/trail-versions.test.ts', 'brings it back'],
  ),
  mutate(
    'policy: a rule that is added takes the place of all others',
    ['secrets/lifecycle.ts', 'readersOf(other) !== readersOf(rule))', 'readersOf(other) === "")'],
    ['gateway', 'gateway/secret-rules.test.ts'],
  ),
  mutate(
    'export: a value becomes a command in a shell',
    ['cli/secrets/dotenv.ts', '/["$`\\\\!]/.test(value)', '/["]/.test(value)'],
    ['host', 'cli/dotenv.test.ts', 'what is written'],
  ),
]
