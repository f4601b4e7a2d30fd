/** What happens to versions after they are written: deleted and brought back, destroyed; and the secret's own settings, and its end. */
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { SecretName } from '../protocol/ids.ts'
import { MAX_POLICY_RULES, MAX_POLICY_TEXT } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { StoredPolicy, StoredRule } from '../protocol/secret-policy.ts'
import type { SecretSettings } from '../protocol/secrets.ts'
import { type Actor, changeSecret, type Plan } from './change.ts'
import { forgetFrames } from './frames.ts'
import { type StoredSecret, type StoredVersion, versionsOf } from './rows.ts'
import type { SecretStores } from './stores.ts'
import { describePolicy } from './write.ts'

type Change = 'delete' | 'undelete' | 'destroy'

const EFFECT: Readonly<Record<Change, string>> = {
  delete: 'deleted_at = ?1',
  // One that ended by its own date comes back for good: its owner has asked for it.
  undelete: 'deleted_at = NULL, expires_at = NULL',
  destroy: "destroyed_at = ?1, frame = NULL, recipients = '[]'",
}

/** @param versions undefined: the newest. */
export async function changeVersions(
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
  change: Change,
  versions?: readonly number[],
): Promise<Result<Plan, Refusal>> {
  const action = `secret.${change}`
  let changed: StoredVersion[] = []
  const done = await changeSecret(stores, actor, name, action, async (current) => {
    if (current === undefined || current.purged) return err(refusal('E_SECRET_NOT_FOUND'))
    const wanted = versions ?? [current.version]
    const there = await versionsOf(stores.db, name)
    const missing = wanted.find((number) => !there.some(({ version }) => version === number))
    if (missing !== undefined) return err(refusal('E_SECRET_VERSION_NOT_FOUND', `version ${missing}`))
    changed = there.filter(({ version }) => wanted.includes(version))
    const destroyed = changed.find(({ destroyedAt }) => destroyedAt !== null)
    if (destroyed !== undefined && change !== 'destroy')
      return err(refusal('E_SECRET_DESTROYED', `version ${destroyed.version}`))
    return ok({
      action,
      reason: `version ${wanted.join(', ')}`,
      detail: { versions: wanted.join(',') },
      statements: () => [
        stores.db
          .prepare(
            `UPDATE secret_versions SET ${EFFECT[change]} WHERE name = ?2 AND version IN (SELECT value FROM json_each(?3))
             AND ?1 > 0`,
          )
          .bind(stores.now(), name, JSON.stringify(wanted)),
      ],
    })
  })
  if (done.ok && change === 'destroy') await forgetFrames(stores, changed)
  return done
}

/** Removes every version, the policy and the settings. The next secret of this name goes on counting versions. */
export async function purgeSecret(
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
): Promise<Result<Plan, Refusal>> {
  const before = await versionsOf(stores.db, name)
  const done = await changeSecret(stores, actor, name, 'secret.purge', async (current) => {
    if (current === undefined || current.purged) return err(refusal('E_SECRET_NOT_FOUND'))
    return ok({
      action: 'secret.purge',
      reason: 'every version',
      detail: {},
      statements: () => [
        stores.db.prepare('DELETE FROM secret_versions WHERE name = ?').bind(name),
        stores.db
          .prepare(
            `UPDATE secrets SET deleted_at = ?1, updated_at = ?1, policy = '{"rules":[],"expires":null}' WHERE name = ?2`,
          )
          .bind(stores.now(), name),
      ],
    })
  })
  if (done.ok) await forgetFrames(stores, before)
  return done
}

/** What is undefined stays as it is. */
export type Settings = { readonly [K in keyof SecretSettings]?: SecretSettings[K] | undefined } & {
  readonly policy?: StoredPolicy | undefined
  /** Joins the policy there is. */
  readonly rule?: StoredRule | undefined
}

/** Policy and settings are no part of the value: its version stays what it is. */
export function changeSettings(
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
  settings: Settings,
): Promise<Result<Plan, Refusal>> {
  const { rule } = settings
  const action = (settings.policy ?? rule) === undefined ? 'secret.metadata' : 'secret.policy'
  return changeSecret(stores, actor, name, action, async (current) => {
    if (current === undefined || current.purged) return err(refusal('E_SECRET_NOT_FOUND'))
    const policy = rule === undefined ? (settings.policy ?? current.policy) : withRule(current.policy, rule)
    if (policy.rules.length > MAX_POLICY_RULES)
      return err(refusal('E_BODY_INVALID', `a policy has at most ${MAX_POLICY_RULES} rules`))
    if (isTooLong(policy)) return err(refusal('E_BODY_INVALID', 'the policy is too long'))
    return ok({
      action,
      reason: describe(settings),
      detail: {},
      statements: () => [
        store(stores.db, name, { ...current.settings, ...defined(settings) }, policy, stores.now()),
      ],
    })
  })
}

/** No entry of the trail could say what it allows. */
export const isTooLong = (policy: StoredPolicy): boolean => describePolicy(policy).length > MAX_POLICY_TEXT

function store(
  db: D1Database,
  name: SecretName,
  { maxVersions, deleteAfterMs, rotateEveryMs, casRequired, custom }: StoredSecret['settings'],
  policy: StoredPolicy,
  now: number,
): D1PreparedStatement {
  return db
    .prepare(
      `UPDATE secrets SET policy = ?2, max_versions = ?3, delete_after_ms = ?4, rotate_every_ms = ?5, cas_required = ?6,
         custom = ?7, updated_at = ?8 WHERE name = ?1`,
    )
    .bind(
      name,
      JSON.stringify(policy),
      maxVersions,
      deleteAfterMs,
      rotateEveryMs,
      casRequired ? 1 : 0,
      JSON.stringify(custom),
      now,
    )
}

function withRule({ rules, expires }: StoredPolicy, rule: StoredRule): StoredPolicy {
  const others = rules.filter((other) => readersOf(other) !== readersOf(rule))
  return { rules: [...others, rule], expires }
}

const readersOf = ({ effect, nodes, tags, workloads, roles }: StoredRule): string =>
  JSON.stringify([
    effect,
    nodes.map(({ id }) => id).sort(),
    ...[tags, workloads, roles].map((one) => [...one].sort()),
  ])

function describe({ policy, rule, ...settings }: Settings): string {
  const named = Object.keys(defined(settings))
  const added = rule === undefined ? [] : [`added: ${describePolicy({ rules: [rule], expires: null })}`]
  return (
    [...(policy === undefined ? [] : [describePolicy(policy)]), ...added, ...named].join('; ') || 'nothing'
  )
}

const defined = <T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never
