/**
 * How a secret changes: the audit entry first, then everything in one transaction of D1, then the entry is settled.
 *
 *     begin ──▶ entry, its outcome open ──▶ D1 batch: 'applied' and the change itself ──▶ settle
 *
 * A worker that dies in between leaves its entry open. The sweep then writes 'abandoned' into D1, unless 'applied' is there already: one
 * primary key decides, so that a change which was given up cannot happen afterwards, and one that happened is never called undone.
 */
import type { AuditEvent } from '../protocol/audit.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { SecretName } from '../protocol/ids.ts'
import { MUTATION_TIMEOUT_MS, MUTATION_TRIES } from '../protocol/limits.ts'
import { err, type Result } from '../protocol/result.ts'
import { type StoredSecret, secretRow } from './rows.ts'
import type { SecretStores } from './stores.ts'

/** Who acts, in the words of the trail. */
export interface Actor {
  readonly actor: string
  readonly requestId: string
}

export interface Plan {
  readonly action: string
  readonly reason: string
  readonly detail?: AuditEvent['detail']
  /** What else the transaction does, beside raising the revision. */
  statements(entry: number): readonly D1PreparedStatement[]
}

/**
 * Changes one secret. @param plan is made anew for what there is when others have changed it meanwhile; a refusal of it is recorded.
 * @returns the plan that was carried out.
 */
export async function changeSecret<P extends Plan>(
  stores: SecretStores,
  actor: Actor,
  name: SecretName,
  action: string,
  plan: (current: StoredSecret | undefined) => Promise<Result<P, Refusal>>,
): Promise<Result<P, Refusal>> {
  for (let tried = 1; tried <= MUTATION_TRIES; tried++) {
    const current = await secretRow(stores.db, name)
    const planned = await plan(current)
    if (!planned.ok) {
      // A plan that has asked for more than the row has perhaps seen two states, and its refusal is true of neither.
      if ((await secretRow(stores.db, name))?.revision !== current?.revision) continue
      await recordRefusal(stores, actor, action, `secret:${name}`, planned.error)
      return planned
    }
    if (await carryOut(stores, eventOf(actor, name, planned.value), planned.value, current)) return planned
  }
  const busy = refusal('E_SECRET_BUSY')
  await recordRefusal(stores, actor, action, `secret:${name}`, busy)
  return err(busy)
}

/** A refused change is in the trail, too, with the code that its author got. */
export async function recordRefusal(
  { trail }: Pick<SecretStores, 'trail'>,
  actor: Actor,
  action: string,
  target: string,
  { code, detail }: Refusal,
): Promise<void> {
  const reason = detail === undefined ? code : `${code}: ${detail}`
  await trail.append([{ ...actor, action, target, outcome: 'denied', reason }])
}

/** Once a minute: decides what became of changes whose worker was lost. */
export async function settleLost({ db, trail, now }: SecretStores): Promise<void> {
  const lost = await trail.openIntents(now() - MUTATION_TIMEOUT_MS)
  for (const { entry, event } of lost) {
    const [, decided] = await db.batch<{ outcome: string }>([
      db
        .prepare(
          "INSERT INTO mutations (entry, outcome, at) VALUES (?, 'abandoned', ?) ON CONFLICT DO NOTHING",
        )
        .bind(entry, now()),
      db.prepare('SELECT outcome FROM mutations WHERE entry = ?').bind(entry),
    ])
    const applied = decided?.results[0]?.outcome === 'applied'
    await trail.settle(entry, applied ? undefined : failed(event, entry, 'its worker was lost'))
  }
  await forgetSettled({ db, trail, now })
}

/** A lost worker may still be on its way to D1, but not for a day. */
const FENCE_MS = 24 * 60 * 60_000

async function forgetSettled({ db, trail, now }: Pick<SecretStores, 'db' | 'trail' | 'now'>): Promise<void> {
  const open = (await trail.openIntents(now())).map(({ entry }) => entry)
  await db
    .prepare('DELETE FROM mutations WHERE at < ? AND entry NOT IN (SELECT value FROM json_each(?))')
    .bind(now() - FENCE_MS, JSON.stringify(open))
    .run()
}

/** @returns false if another change came first. */
async function carryOut(
  { db, trail, now }: SecretStores,
  event: AuditEvent,
  plan: Plan,
  current: StoredSecret | undefined,
): Promise<boolean> {
  const entry = await trail.begin(event)
  const applied = db
    .prepare("INSERT INTO mutations (entry, outcome, at) VALUES (?, 'applied', ?)")
    .bind(entry, now())
  const revised = current === undefined ? [] : [raiseRevision(db, current)]
  try {
    await db.batch([applied, ...revised, ...plan.statements(entry)])
  } catch (error) {
    // Any other failure says nothing of whether it happened: the entry stays open, and the sweep looks.
    if (!isOvertaken(error)) throw error
    await trail.settle(entry, failed(event, entry, 'another change came first'))
    return false
  }
  try {
    await trail.settle(entry)
  } catch (error) {
    // It has happened, and its author is told so; the sweep settles the entry.
    console.error({ event: 'settle_failed', requestId: event.requestId, entry, error: String(error) })
  }
  return true
}

/** NULL in a column that takes none fails the whole transaction if the secret is no longer as it was seen. */
const raiseRevision = (db: D1Database, { name, revision }: StoredSecret): D1PreparedStatement =>
  db
    .prepare('UPDATE secrets SET revision = CASE WHEN revision = ?2 THEN revision + 1 END WHERE name = ?1')
    .bind(name, revision)

const isOvertaken = (error: unknown): boolean =>
  error instanceof Error && error.message.includes('constraint failed')

function eventOf(actor: Actor, name: SecretName, { action, reason, detail }: Plan): AuditEvent {
  return {
    ...actor,
    action,
    target: `secret:${name}`,
    outcome: 'allowed',
    reason,
    ...(detail !== undefined && { detail }),
  }
}

const failed = (event: AuditEvent, entry: number, reason: string): AuditEvent => ({
  ...event,
  outcome: 'failed',
  reason,
  detail: { of: entry },
})
