/** Whether a version can be read, beside who reads it. Pure. */

import type * as z from 'zod'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { VersionState } from '../protocol/secrets.ts'
import type { Found, StoredVersion } from './rows.ts'

export function stateOf(version: StoredVersion | undefined, now: number): z.infer<typeof VersionState> {
  if (version === undefined || version.destroyedAt !== null) return 'destroyed'
  const ended = version.deletedAt !== null || (version.expiresAt !== null && version.expiresAt <= now)
  return ended ? 'deleted' : 'live'
}

/** Why nobody can read it; undefined if it can be read. */
export function unreadable({ version }: Found, now: number): Refusal | undefined {
  if (version === undefined) return refusal('E_SECRET_VERSION_NOT_FOUND')
  const detail = `version ${version.version}`
  switch (stateOf(version, now)) {
    case 'live':
      return undefined
    case 'deleted':
      return refusal('E_SECRET_DELETED', detail)
    case 'destroyed':
      return refusal('E_SECRET_DESTROYED', detail)
  }
}

/** Nodes read the newest version, and the ones before it only while their overlap lasts. */
export function beyondOverlap({ secret, version }: Found, now: number): Refusal | undefined {
  if (version === undefined || version.version === secret.version) return undefined
  return (version.readableUntil ?? 0) > now
    ? undefined
    : refusal('E_SECRET_VERSION_ENDED', `version ${version.version}`)
}
