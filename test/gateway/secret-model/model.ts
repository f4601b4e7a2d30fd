/** What secrets are to do, said once more and simply: a map in memory, one change after the other. */
import type { ErrorCode } from '../../../protocol/errors.ts'
import type { SecretName } from '../../../protocol/ids.ts'
import { DEFAULT_SECRET_VERSIONS } from '../../../protocol/limits.ts'
import {
  mayRead,
  NOBODY,
  type Reader,
  type StoredPolicy,
  type StoredRule,
} from '../../../protocol/secret-policy.ts'
import type { SecretClass, SecretSettings } from '../../../protocol/secrets.ts'

export interface ModelVersion {
  /** Of the sealed class, its ciphertext. */
  readonly value: string
  readonly key: number | null
  readonly recipients: readonly string[]
  readonly deleted: boolean
  readonly destroyed: boolean
  readonly expiresAt: number | null
  readonly readableUntil: number | null
}

export interface ModelSecret {
  readonly class: SecretClass
  readonly version: number
  readonly policy: StoredPolicy
  readonly settings: SecretSettings
  readonly purged: boolean
  readonly versions: ReadonlyMap<number, ModelVersion>
}

export type ModelState = ReadonlyMap<SecretName, ModelSecret>

export type Change = { readonly name: SecretName } & (
  | {
      readonly kind: 'write'
      readonly class: SecretClass
      readonly value: string
      readonly key: number | null
      readonly recipients: readonly string[]
      readonly policy: StoredPolicy | undefined
      readonly cas: number | undefined
      readonly overlap: number | undefined
    }
  | {
      readonly kind: 'reseal'
      readonly version: number
      readonly value: string
      readonly recipients: readonly string[]
    }
  | { readonly kind: 'rewrap'; readonly version: number; readonly key: number }
  | { readonly kind: 'delete' | 'undelete' | 'destroy'; readonly versions: readonly number[] | undefined }
  | { readonly kind: 'purge' }
  | {
      readonly kind: 'settings'
      readonly policy: StoredPolicy | undefined
      readonly rule: StoredRule | undefined
      readonly settings: Partial<SecretSettings>
    }
)

/** `nothing`: it succeeds, and there is nothing to do; `needless`: nor is there then, but it does no harm. */
export type Effect =
  | { readonly refused: ErrorCode }
  | 'nothing'
  | { readonly secret: ModelSecret; readonly needless?: boolean }

const NEW_SETTINGS: SecretSettings = {
  maxVersions: DEFAULT_SECRET_VERSIONS,
  deleteAfterMs: null,
  rotateEveryMs: null,
  casRequired: false,
  custom: {},
}

export function effectOf(secret: ModelSecret | undefined, change: Change, now: number): Effect {
  if (change.kind === 'write') return write(secret, change, now)
  const there = secret === undefined || secret.purged ? undefined : secret
  if (change.kind === 'rewrap') {
    const version = there?.versions.get(change.version)
    if (version === undefined || version.destroyed) return 'nothing'
  }
  if (there === undefined) return { refused: 'E_SECRET_NOT_FOUND' }
  switch (change.kind) {
    case 'purge':
      return { secret: { ...there, purged: true, policy: NOBODY, versions: new Map() } }
    case 'settings':
      return {
        secret: {
          ...there,
          policy: policyAfter(there.policy, change),
          settings: { ...there.settings, ...change.settings },
        },
      }
    case 'rewrap':
      if (there.class === 'sealed') return { refused: 'E_SECRET_CLASS' }
      return {
        ...withVersions(there, [change.version], (version) => ({ ...version, key: change.key })),
        needless: there.versions.get(change.version)?.key === change.key,
      }
    case 'reseal':
      if (there.class !== 'sealed') return { refused: 'E_SECRET_CLASS' }
      return (
        refusedVersion(there, [change.version], true) ??
        withVersions(there, [change.version], (version) => ({
          ...version,
          value: change.value,
          recipients: change.recipients,
        }))
      )
    default: {
      const numbers = change.versions ?? [there.version]
      return (
        refusedVersion(there, numbers, change.kind !== 'destroy') ??
        withVersions(there, numbers, AFTERWARDS[change.kind])
      )
    }
  }
}

const AFTERWARDS = {
  delete: (version: ModelVersion): ModelVersion => ({ ...version, deleted: true }),
  undelete: (version: ModelVersion): ModelVersion => ({ ...version, deleted: false, expiresAt: null }),
  destroy: (version: ModelVersion): ModelVersion => ({
    ...version,
    value: '',
    destroyed: true,
    recipients: [],
  }),
}

function policyAfter(
  before: StoredPolicy,
  { policy, rule }: { readonly policy: StoredPolicy | undefined; readonly rule: StoredRule | undefined },
): StoredPolicy {
  if (rule === undefined) return policy ?? before
  const forOthers = before.rules.filter((other) => JSON.stringify(other) !== JSON.stringify(rule))
  return { ...before, rules: [...forOthers, rule] }
}

function write(
  secret: ModelSecret | undefined,
  change: Extract<Change, { kind: 'write' }>,
  now: number,
): Effect {
  const there = secret === undefined || secret.purged ? undefined : secret
  const newest = there?.version ?? 0
  if (there !== undefined && there.class !== change.class) return { refused: 'E_SECRET_CLASS' }
  if (change.cas === undefined && there?.settings.casRequired) return { refused: 'E_SECRET_CAS_REQUIRED' }
  if (change.cas !== undefined && change.cas !== newest) return { refused: 'E_SECRET_CAS' }
  const settings = there?.settings ?? NEW_SETTINGS
  const number = (secret?.version ?? 0) + 1
  const versions = new Map(there?.versions)
  const before = versions.get(number - 1)
  if (before !== undefined && change.overlap !== undefined)
    versions.set(number - 1, { ...before, readableUntil: now + change.overlap })
  versions.set(number, {
    value: change.value,
    key: change.key,
    recipients: change.recipients,
    deleted: false,
    destroyed: false,
    expiresAt: settings.deleteAfterMs === null ? null : now + settings.deleteAfterMs,
    readableUntil: null,
  })
  for (const old of versions.keys()) if (old <= number - settings.maxVersions) versions.delete(old)
  const policy = change.policy ?? there?.policy ?? NOBODY
  return { secret: { class: change.class, version: number, policy, settings, purged: false, versions } }
}

function refusedVersion(
  secret: ModelSecret,
  numbers: readonly number[],
  mustHold: boolean,
): { refused: ErrorCode } | undefined {
  if (numbers.some((number) => !secret.versions.has(number))) return { refused: 'E_SECRET_VERSION_NOT_FOUND' }
  const destroyed = numbers.some((number) => secret.versions.get(number)?.destroyed)
  return mustHold && destroyed ? { refused: 'E_SECRET_DESTROYED' } : undefined
}

function withVersions(
  secret: ModelSecret,
  numbers: readonly number[],
  become: (version: ModelVersion) => ModelVersion,
): { readonly secret: ModelSecret } {
  const versions = new Map(secret.versions)
  for (const number of numbers) {
    const version = versions.get(number)
    if (version !== undefined) versions.set(number, become(version))
  }
  return { secret: { ...secret, versions } }
}

export interface WantedVersion {
  readonly name: SecretName
  readonly version: number | undefined
}

export type Seen = { readonly refused: ErrorCode } | { readonly version: number; readonly value: string }

/** What a node sees of one secret. @param judgedAt when its right was looked at, which is as its request comes in. */
export function seenBy(
  state: ModelState,
  wanted: WantedVersion,
  reader: Reader,
  judgedAt: number,
  now: number,
): Seen {
  const secret = state.get(wanted.name)
  if (secret === undefined || secret.purged) return { refused: 'E_SECRET_NOT_FOUND' }
  const verdict = mayRead(secret.policy, reader, judgedAt)
  if (!verdict.allowed) return { refused: verdict.code }
  const number = wanted.version ?? secret.version
  const version = secret.versions.get(number)
  if (version === undefined) return { refused: 'E_SECRET_VERSION_NOT_FOUND' }
  if (number !== secret.version && (version.readableUntil ?? 0) <= judgedAt)
    return { refused: 'E_SECRET_VERSION_ENDED' }
  if (version.destroyed) return { refused: 'E_SECRET_DESTROYED' }
  if (version.deleted || (version.expiresAt !== null && version.expiresAt <= now))
    return { refused: 'E_SECRET_DELETED' }
  return { version: number, value: version.value }
}
