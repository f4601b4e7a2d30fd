/**
 * What `claw` remembers of audit trails: by gateway which log it has, and by log the keys and the newest checkpoint. That is what makes a
 * rewritten log visible, so it is kept for the person and not for the directory they happen to be in.
 */
import * as z from 'zod'
import { readKeptCheckpoint } from '../../host/audit-checkpoint.ts'
import type { AuditMemory, KnownLog } from '../../host/audit-log-client.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { GatewayKey } from '../../protocol/ids.ts'
import { parseJson } from '../../protocol/json.ts'
import { ownPath, readOwnFile, writeOwnFile } from '../own-directory.ts'

const FILE = 'audit-logs.json'

const KnownLogs = z.strictObject({
  version: z.literal(1),
  /** Origin of the log, by the gateway's URL. */
  gateways: z.record(z.string(), z.string()),
  logs: z.record(
    z.string(),
    z.strictObject({
      keys: z.array(GatewayKey).min(1),
      // One that cannot be read must not pass for none: any trail would then be the first that is seen.
      checkpoint: z
        .string()
        .refine((note) => readKeptCheckpoint(note) !== undefined)
        .optional(),
    }),
  ),
})
type KnownLogs = z.infer<typeof KnownLogs>

export class KnownLogsFile implements AuditMemory {
  readonly #gateway: string

  /** @param gateway its origin, as a URL. */
  constructor(gateway: string) {
    this.#gateway = gateway
  }

  origin(): string | undefined {
    return readFile().gateways[this.#gateway]
  }

  read(origin: string): KnownLog | undefined {
    const log = readFile().logs[origin]
    return log && { origin, ...log }
  }

  /** Another `claw` may have seen a newer checkpoint meanwhile: the larger one stays. */
  write({ origin, keys, checkpoint }: KnownLog): void {
    const known = readFile()
    const before = known.logs[origin]?.checkpoint
    const newest = sizeOf(before) > sizeOf(checkpoint) ? before : checkpoint
    const log = { keys: [...keys], ...(newest !== undefined && { checkpoint: newest }) }
    const next: KnownLogs = {
      version: 1,
      gateways: { ...known.gateways, [this.#gateway]: origin },
      logs: { ...known.logs, [origin]: log },
    }
    if (JSON.stringify(next) !== JSON.stringify(known)) keep(next)
  }

  /** This key alone counts from now on, by its owner's word. */
  trust(origin: string, key: GatewayKey): void {
    this.write({ origin, keys: [key], checkpoint: this.read(origin)?.checkpoint })
  }

  /** The gateway has another log, by its owner's word. What is known of the one before stays. */
  forgetOrigin(): void {
    const known = readFile()
    const { [this.#gateway]: _, ...gateways } = known.gateways
    keep({ ...known, gateways })
  }
}

const sizeOf = (note: string | undefined): number =>
  (note === undefined ? undefined : readKeptCheckpoint(note))?.size ?? -1

function readFile(): KnownLogs {
  const content = readOwnFile(FILE)
  if (content === undefined) return { version: 1, gateways: {}, logs: {} }
  const known = KnownLogs.safeParse(parseJson(content))
  if (known.success) return known.data
  throw new UserError({
    code: 'E_STATE_INVALID',
    message: `${ownPath(FILE)} cannot be read`,
    why: 'it holds the checkpoints of audit trails, and is not of that form',
    fix: 'restore it; without it a rewritten trail is not noticed',
    exitCode: EXIT.badConfig,
  })
}

const keep = (known: KnownLogs): void => writeOwnFile(FILE, `${JSON.stringify(known, undefined, 2)}\n`)
