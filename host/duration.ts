/** Spans of time as people write them: 30s, 10m, 2h, 7d. */
import { usageError } from './options.ts'

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** In milliseconds. */
export function parseDuration(text: string): number {
  const [, count, unit] = /^([0-9]{1,9})([smhd])$/.exec(text) ?? []
  if (count === undefined || unit === undefined) {
    throw usageError(`${JSON.stringify(text)} is not a span of time`, 'write it like 30s, 10m, 2h or 7d')
  }
  return Number(count) * (UNIT_MS[unit] ?? 0)
}
