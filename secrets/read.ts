/** Reading secrets: judge, record, and only then open. What is recorded is what was judged. */
import type { SecretBytes } from '../crypto/secret-bytes.ts'
import type { AuditEvent } from '../protocol/audit.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import { MUTATION_TRIES } from '../protocol/limits.ts'
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

export interface ReadRequest {
  readonly wanted: readonly Wanted[]
  readonly judge: (found: Found) => Verdict
  /** For the trail. */
  readonly purpose?: string | undefined
  /** A last word before anything is opened. */
  readonly accept?: (readable: readonly Readable[]) => Refusal | undefined
}

/**
 * Of one request, in its order: what `use` made of each value, which is wiped after it; or why not, by the first that cannot be read.
 * A large value is fetched after it was decided on. If it was replaced and destroyed in between, there is a newer one to decide on.
 */
export async function readSecrets<T>(
  stores: SecretStores,
  known: KnownSecrets,
  actor: Actor,
  request: ReadRequest,
  use: (readable: Readable, value: SecretBytes) => Promise<T>,
): Promise<Result<readonly T[], Refusal>> {
  for (let tried = 1; tried <= MUTATION_TRIES; tried++) {
    const readable = await judgeAndRecord(stores, known, actor, request, tried === 1)
    if (!readable.ok) return readable
    const refused = request.accept?.(readable.value)
    if (refused !== undefined) return err(refused)
    const used = await useEach(stores, actor, readable.value, use)
    if (used.ok || used.error.code !== 'E_SECRET_DESTROYED') return used
  }
  return err(refusal('E_SECRET_BUSY'))
}

/** @param trusting whether what is known may stand for what is stored. */
async function judgeAndRecord(
  stores: SecretStores,
  known: KnownSecrets,
  actor: Actor,
  { wanted, judge, purpose }: ReadRequest,
  trusting: boolean,
): Promise<Result<readonly Readable[], Refusal>> {
  const before = wanted.map((one) => known.get(one))
  const held = before.map((one) => one?.found)
  let fresh = !trusting || held.some((found) => found === undefined)
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

async function useEach<T>(
  stores: SecretStores,
  actor: Actor,
  readable: readonly Readable[],
  use: (readable: Readable, value: SecretBytes) => Promise<T>,
): Promise<Result<readonly T[], Refusal>> {
  const used: T[] = []
  for (const one of readable) {
    const opened = await openRecorded(stores, actor, one)
    if (!opened.ok) return opened
    using value = opened.value
    used.push(await use(one, value))
  }
  return ok(used)
}

/** A value that was recorded as read, and cannot be, is recorded as that. */
async function openRecorded(
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
