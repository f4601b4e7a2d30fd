/** What a sealed secret lacks: nodes that may read it by now and cannot open it, and nodes that could and no longer may. */
import type { SecretDetail } from '../../protocol/secrets.ts'
import type { SecretRecipient } from '../admin-client.ts'

type Version = SecretDetail['versions'][number]

export interface Lag {
  readonly version: number
  /** Whom it is to be sealed to. */
  readonly wanted: readonly SecretRecipient[]
  readonly missing: readonly SecretRecipient[]
  /** By id: they may be gone. */
  readonly surplus: readonly string[]
}

/** Of every version that is there, those that differ. @param readers who may read the secret now. */
export function lagsOf(secret: SecretDetail, readers: readonly SecretRecipient[], now: Date): Lag[] {
  if (secret.class !== 'sealed') return []
  return secret.versions
    .filter(({ state }) => state === 'live')
    .map((version) => lagOf(version, wantedOf(secret, version, readers, now)))
    .filter(({ missing, surplus }) => missing.length + surplus.length > 0)
}

/** Nodes read the newest version, and one before it while its overlap lasts: the others gain no reader, and only lose those that may not. */
function wantedOf(
  { version: newest }: SecretDetail,
  { version, readableUntil, recipients }: Version,
  readers: readonly SecretRecipient[],
  now: Date,
): readonly SecretRecipient[] {
  const readByNodes = version === newest || (readableUntil !== null && new Date(readableUntil) > now)
  return readByNodes ? readers : readers.filter(({ id }) => recipients.includes(id))
}

function lagOf({ version, recipients }: Version, wanted: readonly SecretRecipient[]): Lag {
  const ids = new Set<string>(wanted.map(({ id }) => id))
  return {
    version,
    wanted,
    missing: wanted.filter(({ id }) => !recipients.includes(id)),
    surplus: recipients.filter((id) => !ids.has(id)),
  }
}

export function lagText(lags: readonly Lag[]): string {
  const missing = new Set(lags.flatMap(({ missing }) => missing.map(({ id }) => id))).size
  const surplus = new Set(lags.flatMap(({ surplus }) => surplus)).size
  return [
    ...(missing > 0 ? [`${missing} cannot open it yet`] : []),
    ...(surplus > 0 ? [`${surplus} may not any more`] : []),
  ].join(', ')
}
