/** Secrets as the API shows them. */
import type * as z from 'zod'
import type { SecretPolicy, StoredPolicy } from '../protocol/secret-policy.ts'
import type { SecretDetail, SecretItem, SecretVersionItem } from '../protocol/secrets.ts'
import type { Found, StoredVersion } from './rows.ts'
import { stateOf } from './state.ts'

type VersionItem = z.infer<typeof SecretVersionItem>

export function secretItem({ secret, version }: Found, now: number): SecretItem {
  const { rotateEveryMs } = secret.settings
  const due = rotateEveryMs === null || version === undefined ? null : version.createdAt + rotateEveryMs
  return {
    name: secret.name,
    class: secret.class,
    version: secret.version,
    state: stateOf(version, now),
    policy: shownPolicy(secret.policy),
    settings: secret.settings,
    createdAt: time(secret.createdAt),
    updatedAt: time(secret.updatedAt),
    rotationDue: due === null ? null : time(due),
  }
}

export const secretDetail = (
  found: Found,
  versions: readonly StoredVersion[],
  now: number,
): SecretDetail => ({
  ...secretItem(found, now),
  versions: versions.map((version) => versionItem(version, now)),
})

export const versionItem = (version: StoredVersion, now: number): VersionItem => ({
  version: version.version,
  state: stateOf(version, now),
  createdAt: time(version.createdAt),
  expiresAt: version.expiresAt === null ? null : time(version.expiresAt),
  readableUntil: version.readableUntil === null ? null : time(version.readableUntil),
  entry: version.entry,
  sha256: version.sha256,
  key: version.keyVersion,
  recipients: [...version.recipients],
})

const shownPolicy = ({ rules, expires }: StoredPolicy): SecretPolicy => ({
  rules: rules.map((rule) => ({ ...rule, nodes: rule.nodes.map(({ name }) => name) })),
  expires,
})

const time = (at: number): string => new Date(at).toISOString()
