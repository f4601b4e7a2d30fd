/**
 * The agent's log: one JSON object a line on standard error. The id of a session is a MaskedId; beside that every line passes the same
 * scrubber, so that a new call cannot bypass it (acceptance L-2): of a session id eight characters stay, and of a token nothing.
 */
import type { MaskedId } from '../protocol/masked-id.ts'
import { systemClock } from './clock.ts'

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type Level = (typeof LEVELS)[number]

type Fields = Readonly<Record<string, string | number | boolean | MaskedId | undefined>>
export type Log = Readonly<Record<Level, (message: string, fields?: Fields) => void>>

interface Options {
  readonly level: Level
  readonly write: (line: string) => void
  /** Unix milliseconds. */
  readonly now: () => number
}

export function createLog({ level, write, now }: Options): Log {
  const at =
    (own: Level) =>
    (message: string, fields: Fields = {}) => {
      if (LEVELS.indexOf(own) < LEVELS.indexOf(level)) return
      const line = { time: new Date(now()).toISOString(), level: own, message, ...fields }
      write(`${JSON.stringify(line, (_, value) => (typeof value === 'string' ? scrub(value) : value))}\n`)
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** Of a program. */
export const stderrLog = (level: Level): Log =>
  createLog({ level, write: (line) => process.stderr.write(line), now: systemClock.now })

const UUID = /\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi
const JWT = /\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+/g
const API_TOKEN = /\bclaw(?:key)?_[A-Za-z0-9]{16,}/g
/** A 32-byte key in base64, as in the agent's key files and WireGuard's tools. */
const KEY = /(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{43}=/g

const scrub = (text: string): string =>
  text
    .replace(UUID, '$1…')
    .replace(JWT, '[REDACTED token]')
    .replace(API_TOKEN, '[REDACTED token]')
    .replace(KEY, '[REDACTED key]')
