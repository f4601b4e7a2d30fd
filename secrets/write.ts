/** New versions of a secret, and new ciphertext of the ones there are. */
import type { SecretBytes } from '../crypto/secret-bytes.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { NodeId, SecretName } from '../protocol/ids.ts'
import { DEFAULT_SECRET_VERSIONS } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { NOBODY, type StoredPolicy } from '../protocol/secret-policy.ts'
import type { SecretClass } from '../protocol/secrets.ts'
import { type Actor, changeSecret, type Plan } from './change.ts'
import { type Frame, forgetFrames, openVersion, sealedElsewhere, sealUnderKeyring } from './frames.ts'
import { findSecret, type StoredSecret, type StoredVersion, versionsOf } from './rows.ts'
import type { SecretStores } from './stores.ts'

export interface WriteOptions {
  /** Absent keeps the one there is; a new secret then allows nobody. */
  readonly policy?: StoredPolicy | undefined
  /** The version this write replaces; 0 for none. */
  readonly cas?: number | undefined
  /** How long the version before stays readable by number, milliseconds. */
  readonly overlap?: number | undefined
}

export const writeManaged = (
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
  value: SecretBytes,
  options: WriteOptions,
): Promise<Result<Plan, Refusal>> =>
  write(stores, actor, name, 'managed', sealUnderKeyring(stores, name, value), [], options)

export const writeSealed = (
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
  ciphertext: Uint8Array,
  recipients: readonly NodeId[],
  options: WriteOptions,
): Promise<Result<Plan, Refusal>> =>
  write(stores, actor, name, 'sealed', sealedElsewhere(ciphertext), recipients, options)

/** The same value, encrypted to other readers by its owner. */
export function reseal(
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
  version: number,
  ciphertext: Uint8Array,
  recipients: readonly NodeId[],
): Promise<Result<Plan, Refusal>> {
  const frame = sealedElsewhere(ciphertext)
  return replaceFrame(stores, actor, name, version, frame, 'secret.reseal', recipients)
}

/** The same value under the active master key; nothing to do for one that is there already, or gone. */
export async function rewrap(
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
  number: number,
): Promise<Result<unknown, Refusal>> {
  const version = await outdated(stores, name, number)
  if (version === undefined) return ok(undefined)
  const moved = await moveToActiveKey(stores, actor, name, version)
  // It may have ended while it was being moved.
  return moved.ok || (await outdated(stores, name, number)) !== undefined ? moved : ok(undefined)
}

/** The version, if it is under another key than the active one. */
async function outdated(
  { db, keyring }: SecretStores,
  name: SecretName,
  number: number,
): Promise<StoredVersion | undefined> {
  const version = (await findSecret(db, name, number))?.version
  const needless = version?.destroyedAt !== null || version.keyVersion === keyring.active
  return needless ? undefined : version
}

async function moveToActiveKey(
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
  version: StoredVersion,
): Promise<Result<unknown, Refusal>> {
  const opened = await openVersion(stores, name, version)
  if (!opened.ok) return opened
  using value = opened.value
  const frame = sealUnderKeyring(stores, name, value)
  return replaceFrame(stores, actor, name, version.version, frame, 'secret.rewrap')
}

async function write(
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
  secretClass: SecretClass,
  frame: Frame,
  recipients: readonly NodeId[],
  options: WriteOptions,
): Promise<Result<Plan, Refusal>> {
  let dropped: StoredVersion[] = []
  const written = await changeSecret(stores, actor, name, 'secret.write', async (current) => {
    const refused = mayWrite(current, secretClass, options)
    if (refused !== undefined) return err(refused)
    const now = stores.now()
    const version = (current?.version ?? 0) + 1
    const keep = current?.purged === false ? current.settings.maxVersions : DEFAULT_SECRET_VERSIONS
    const before = current === undefined ? [] : await versionsOf(stores.db, name)
    dropped = before.filter((old) => old.version <= version - keep)
    const policy = options.policy ?? (current?.purged === false ? current.policy : NOBODY)
    return ok({
      action: 'secret.write',
      reason: `version ${version}; ${options.policy === undefined ? 'policy kept' : describePolicy(policy)}`,
      detail: {
        version,
        class: secretClass,
        sha256: frame.sha256,
        ...(frame.keyVersion !== null && { key: frame.keyVersion }),
        ...(dropped.length > 0 && { drops: dropped.map((old) => old.version).join(',') }),
      },
      statements: (entry) => [
        current === undefined
          ? insertSecret(stores.db, name, secretClass, policy, now)
          : updateSecret(stores.db, current, version, secretClass, policy, now),
        ...overlapOf(stores.db, name, version - 1, options.overlap, now),
        insertVersion(stores.db, {
          name,
          version,
          frame,
          recipients,
          entry,
          now,
          expiresAt: expiry(current, now),
        }),
        stores.db
          .prepare('DELETE FROM secret_versions WHERE name = ? AND version <= ?')
          .bind(name, version - keep),
      ],
    })
  })
  if (written.ok) await forgetFrames(stores, dropped)
  return written
}

function mayWrite(
  current: StoredSecret | undefined,
  secretClass: SecretClass,
  { cas }: WriteOptions,
): Refusal | undefined {
  const newest = current === undefined || current.purged ? 0 : current.version
  if (newest > 0 && current?.class !== secretClass)
    return refusal('E_SECRET_CLASS', `it is ${current?.class}`)
  if (cas === undefined)
    return newest > 0 && current?.settings.casRequired ? refusal('E_SECRET_CAS_REQUIRED') : undefined
  return cas === newest ? undefined : refusal('E_SECRET_CAS', `it is at version ${newest}`)
}

const expiry = (current: StoredSecret | undefined, now: number): number | null =>
  current === undefined || current.purged || current.settings.deleteAfterMs === null
    ? null
    : now + current.settings.deleteAfterMs

function insertSecret(
  db: D1Database,
  name: SecretName,
  secretClass: SecretClass,
  policy: StoredPolicy,
  now: number,
): D1PreparedStatement {
  return db
    .prepare(
      `INSERT INTO secrets (name, version, class, policy, created_at, updated_at) VALUES (?1, 1, ?2, ?3, ?4, ?4)`,
    )
    .bind(name, secretClass, JSON.stringify(policy), now)
}

/** One of which everything was removed begins anew, but for the number of its next version. */
function updateSecret(
  db: D1Database,
  { name, purged }: StoredSecret,
  version: number,
  secretClass: SecretClass,
  policy: StoredPolicy,
  now: number,
): D1PreparedStatement {
  const anew = purged
    ? `, created_at = ?5, max_versions = ${DEFAULT_SECRET_VERSIONS}, delete_after_ms = NULL, rotate_every_ms = NULL,
       cas_required = 0, custom = '{}'`
    : ''
  return db
    .prepare(
      `UPDATE secrets SET version = ?2, class = ?3, policy = ?4, updated_at = ?5, deleted_at = NULL${anew} WHERE name = ?1`,
    )
    .bind(name, version, secretClass, JSON.stringify(policy), now)
}

interface NewVersion {
  readonly name: SecretName
  readonly version: number
  readonly frame: Frame
  readonly recipients: readonly NodeId[]
  readonly entry: number
  readonly now: number
  readonly expiresAt: number | null
}

const insertVersion = (
  db: D1Database,
  { name, version, frame, recipients, entry, now, expiresAt }: NewVersion,
): D1PreparedStatement =>
  db
    .prepare(
      `INSERT INTO secret_versions (name, version, key_version, frame, sha256, entry, created_at, expires_at, recipients)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    .bind(
      name,
      version,
      frame.keyVersion,
      frame.bytes,
      frame.sha256,
      entry,
      now,
      expiresAt,
      JSON.stringify(recipients),
    )

const overlapOf = (
  db: D1Database,
  name: SecretName,
  previous: number,
  overlap: number | undefined,
  now: number,
): D1PreparedStatement[] =>
  overlap === undefined
    ? []
    : [
        db
          .prepare('UPDATE secret_versions SET readable_until = ? WHERE name = ? AND version = ?')
          .bind(now + overlap, name, previous),
      ]

async function replaceFrame(
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
  version: number,
  frame: Frame,
  action: 'secret.reseal' | 'secret.rewrap',
  recipients?: readonly NodeId[],
): Promise<Result<Plan, Refusal>> {
  const old = (await findSecret(stores.db, name, version))?.version
  const replaced = await changeSecret(stores, actor, name, action, async (current) => {
    if (current === undefined || current.purged) return err(refusal('E_SECRET_NOT_FOUND'))
    if ((current.class === 'sealed') !== (frame.keyVersion === null))
      return err(refusal('E_SECRET_CLASS', `it is ${current.class}`))
    const there = (await findSecret(stores.db, name, version))?.version
    if (there === undefined) return err(refusal('E_SECRET_VERSION_NOT_FOUND', `version ${version}`))
    if (there.destroyedAt !== null) return err(refusal('E_SECRET_DESTROYED', `version ${version}`))
    return ok({
      action,
      reason: `version ${version}`,
      detail: { version, sha256: frame.sha256, ...(frame.keyVersion !== null && { key: frame.keyVersion }) },
      statements: (entry) => [
        stores.db
          .prepare(
            `UPDATE secret_versions SET frame = ?, sha256 = ?, key_version = ?, entry = ?, recipients = COALESCE(?, recipients)
             WHERE name = ? AND version = ?`,
          )
          .bind(
            frame.bytes,
            frame.sha256,
            frame.keyVersion,
            entry,
            recipients === undefined ? null : JSON.stringify(recipients),
            name,
            version,
          ),
      ],
    })
  })
  if (replaced.ok && old !== undefined) await forgetFrames(stores, [old])
  return replaced
}

export function describePolicy(policy: StoredPolicy): string {
  if (policy.rules.length === 0) return 'nobody may read'
  const rules = policy.rules.map(({ effect, nodes, tags, workloads, roles, expires }) =>
    [
      effect,
      ...nodes.map(({ name }) => `node ${name}`),
      ...tags.map((tag) => `tag ${tag}`),
      ...workloads.map((workload) => `workload ${workload}`),
      ...roles.map((role) => `role ${role}`),
      ...(expires === null ? [] : [`until ${expires}`]),
    ].join(' '),
  )
  return [...rules, ...(policy.expires === null ? [] : [`all until ${policy.expires}`])].join('; ')
}
