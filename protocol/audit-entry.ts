/**
 * An entry's bytes, which the log hashes: JSON with its fields in this order, and those of `detail` in theirs, so that an entry has exactly
 * one form.
 */
import * as z from 'zod'
import {
  AuditDetail,
  type AuditEvent,
  type AuditFilter,
  type AuditItem,
  AuditOutcome,
  isAuditDetail,
} from './audit.ts'
import { parseJson } from './json.ts'
import { MAX_AUDIT_ENTRY_BYTES } from './limits.ts'

export interface AuditEntry extends AuditEvent {
  /** Unix milliseconds. */
  readonly at: number
}

const VERSION = 1
const encoder = new TextEncoder()
const text = (value: string): string => JSON.stringify(value)

/** @throws RangeError if the log could not hold it: nothing is cut short. */
export function encodeEntry(entry: AuditEntry): Uint8Array {
  const bytes = encoder.encode(formatEntry(entry))
  if (bytes.length > MAX_AUDIT_ENTRY_BYTES) throw new RangeError(`an audit entry of ${bytes.length} bytes`)
  return bytes
}

function formatEntry({
  at,
  actor,
  action,
  target,
  outcome,
  reason,
  requestId,
  detail = {},
}: AuditEntry): string {
  if (!isAuditDetail(detail)) throw new RangeError(`details of the audit entry ${action}`)
  const details = Object.keys(detail)
    .sort()
    .map((name) => `${text(name)}:${JSON.stringify(detail[name])}`)
  return (
    `{"v":${VERSION},"at":${at},"actor":${text(actor)},"action":${text(action)},"target":${text(target)},` +
    `"outcome":"${outcome}","reason":${text(reason)},"request":${text(requestId)},"detail":{${details.join(',')}}}`
  )
}

const Stored = z.strictObject({
  v: z.literal(VERSION),
  at: z.int().nonnegative(),
  actor: z.string(),
  action: z.string(),
  target: z.string(),
  outcome: AuditOutcome,
  reason: z.string(),
  request: z.string(),
  detail: AuditDetail,
})

/** Undefined unless the bytes are an entry in its one form. */
export function decodeEntry(bytes: Uint8Array): AuditEntry | undefined {
  const json = parseText(bytes)
  const stored = json === undefined ? undefined : Stored.safeParse(parseJson(json)).data
  if (stored === undefined) return undefined
  const { v: _, request, detail, ...fields } = stored
  const entry = { ...fields, requestId: request, ...(Object.keys(detail).length > 0 && { detail }) }
  return formatEntry(entry) === json ? entry : undefined
}

/**
 * The action alone, for one who looks through many entries for few. Found by its name in quotes, which no value before it can hold: there a
 * quote has a backslash.
 */
export function actionOf(bytes: Uint8Array): string | undefined {
  return /"action":"((?:[^"\\]|\\.)*)"/.exec(parseText(bytes) ?? '')?.[1]
}

export const passesFilter = (
  entry: AuditEntry,
  { actor, action, target, outcome, since, until }: AuditFilter,
): boolean =>
  (actor === undefined || entry.actor === actor) &&
  (action === undefined || entry.action === action) &&
  (target === undefined || entry.target.startsWith(target)) &&
  (outcome === undefined || entry.outcome === outcome) &&
  (since === undefined || entry.at >= since) &&
  (until === undefined || entry.at <= until)

export const itemOf = (seq: number, { at, ...event }: AuditEntry): AuditItem => ({
  seq,
  at: new Date(at).toISOString(),
  ...event,
})

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function parseText(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}
