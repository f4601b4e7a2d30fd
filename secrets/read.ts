/** Reading secrets: judge, record, and only then open. What is recorded is what was judged. */
import type { SecretBytes } from '../crypto/secret-bytes.ts'
import type { AuditEvent } from '../protocol/audit.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { Verdict } from '../protocol/secret-policy.ts'
import type { Actor } from './change.ts'
import { openVersion } from './frames.ts'
import type { KnownSecrets } from './known.ts'
import type { Found, StoredSecret, StoredVersion, Wanted } from './rows.ts'
import { unreadable } from './state.ts'
import type { SecretStores } from './stores.ts'

/** A secret that may be read, and has been recorded as read. */
export interface Readable {
  readonly secret: StoredSecret
  readonly version: StoredVersion
}

/** Of one request, in its order: all of the secrets, or why not, by the first that cannot be read. */
export async function readSecrets(
  stores: SecretStores,
  known: KnownSecrets,
  actor: Actor,
  wanted: readonly Wanted[],
  judge: (found: Found) => Verdict,
  purpose?: string,
): Promise<Result<readonly Readable[], Refusal>> {
  const before = wanted.map((one) => known.get(one))
  const held = before.map((one) => one?.found)
  let fresh = held.some((found) => found === undefined)
  for (;;) {
    const found = fresh ? await stores.lookUp(wanted) : held
    const decisions = found.map((one) => decide(one, judge, stores.now()))
    const events = decisions.map((decision, index) => eventOf(actor, wanted[index], decision, purpose))
    const { stamps } = await stores.trail.append(events)
    if (fresh)
      wanted.forEach((one, index) => {
        known.learn(one, found[index], before[index]?.stamp, stamps[index] ?? null)
      })
    // What was held has changed meanwhile; the reads as they really are get entries of their own.
    if (!fresh && stamps.some((stamp, index) => stamp !== before[index]?.stamp)) fresh = true
    else return allOf(wanted, decisions)
  }
}

/** @returns the value, wiped by the caller; a failure is recorded. */
export async function openRead(
  stores: SecretStores,
  actor: Actor,
  { secret, version }: Readable,
): Promise<Result<SecretBytes, Refusal>> {
  const opened = await openVersion(stores, secret.name, version)
  if (!opened.ok) {
    const { code, detail } = opened.error
    await stores.trail.append([
      {
        ...actor,
        action: 'secret.read',
        target: `secret:${secret.name}`,
        outcome: 'failed',
        reason: `version ${version.version}: ${detail === undefined ? code : `${code}: ${detail}`}`,
      },
    ])
  }
  return opened
}

type Decision =
  | { readonly readable: Readable; readonly reason: string }
  | { readonly refused: Refusal; readonly reason: string }

function decide(found: Found | undefined, judge: (found: Found) => Verdict, now: number): Decision {
  if (found === undefined) return { refused: refusal('E_SECRET_NOT_FOUND'), reason: 'there is none' }
  const verdict = judge(found)
  if (!verdict.allowed) return { refused: refusal(verdict.code), reason: verdict.reason }
  const refused = unreadable(found, now)
  if (refused !== undefined) return { refused, reason: verdict.reason }
  const { secret, version } = found
  if (version === undefined) throw new Error('a readable secret has no version')
  return { readable: { secret, version }, reason: `version ${version.version}: ${verdict.reason}` }
}

function eventOf(actor: Actor, wanted: Wanted | undefined, decision: Decision, purpose?: string): AuditEvent {
  const marked = purpose === undefined ? decision.reason : `${decision.reason}; ${purpose}`
  return {
    ...actor,
    action: 'secret.read',
    target: `secret:${wanted?.name}`,
    ...('readable' in decision
      ? { outcome: 'allowed', reason: marked, detail: { version: decision.readable.version.version } }
      : { outcome: 'denied', reason: `${describe(decision.refused)}; ${marked}` }),
  }
}

const describe = ({ code, detail }: Refusal): string => (detail === undefined ? code : `${code}: ${detail}`)

function allOf(
  wanted: readonly Wanted[],
  decisions: readonly Decision[],
): Result<readonly Readable[], Refusal> {
  const refused = decisions.findIndex((decision) => 'refused' in decision)
  const decision = decisions[refused]
  if (decision !== undefined && 'refused' in decision) {
    const { code, detail } = decision.refused
    const name = `secret ${wanted[refused]?.name}`
    return err(refusal(code, detail === undefined ? name : `${name}, ${detail}`))
  }
  return ok(decisions.flatMap((one) => ('readable' in one ? [one.readable] : [])))
}
