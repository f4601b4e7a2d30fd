/**
 * Ciphertext at rest: made, and opened again. KV holds the large ones, each under its own hash: what is cached can be neither out of date
 * nor another's, and what was deleted is reached from nowhere and ends by itself.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { SecretBytes } from '../crypto/secret-bytes.ts'
import { deriveSecretKey, openFrame, sealFrame } from '../crypto/secret-frame.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { SecretName } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { StoredVersion } from './rows.ts'
import type { SecretStores } from './stores.ts'

/** The cached frame of a secret that nobody reads any more, or that is gone, ends after a day. */
const CACHE_SECONDS = 24 * 60 * 60

export interface Frame {
  readonly bytes: Uint8Array
  readonly sha256: string
  /** Null for the sealed class, which has no key of ours. */
  readonly keyVersion: number | null
}

export function sealUnderKeyring(
  { keyring }: Pick<SecretStores, 'keyring'>,
  name: SecretName,
  value: SecretBytes,
): Frame {
  const keyVersion = keyring.active
  const master = keyring.key(keyVersion)
  if (master === undefined) throw new Error('the active master key is not in the keyring')
  using key = deriveSecretKey(master, name)
  const bytes = sealFrame(key, value)
  return { bytes, sha256: frameHash(bytes), keyVersion }
}

/** What the writer has sealed is stored as it is. */
export const sealedElsewhere = (bytes: Uint8Array): Frame => ({
  bytes,
  sha256: frameHash(bytes),
  keyVersion: null,
})

/** The value; of the sealed class, its ciphertext. */
export async function openVersion(
  stores: SecretStores,
  name: SecretName,
  version: StoredVersion,
): Promise<Result<SecretBytes, Refusal>> {
  const { frame: inline } = version
  const stored = inline === undefined ? await findFrame(stores, name, version) : { ...version, frame: inline }
  // Destroyed since its row was read.
  if (stored === undefined) return err(refusal('E_SECRET_DESTROYED'))
  const { frame, keyVersion, sha256: hash } = stored
  if (!isGenuine(frame, hash)) return err(refusal('E_SECRET_CORRUPT'))
  if (keyVersion === null) return ok(SecretBytes.take(new Uint8Array(frame)))
  const master = stores.keyring.key(keyVersion)
  if (master === undefined) return err(refusal('E_KEY_RETIRED', `key ${keyVersion}`))
  using key = deriveSecretKey(master, name)
  const opened = openFrame(key, frame)
  return opened.ok ? opened : err(refusal('E_SECRET_CORRUPT'))
}

/** Best effort: nothing that is left behind here is ever asked for again. */
export async function forgetFrames(
  { cache }: Pick<SecretStores, 'cache'>,
  versions: readonly StoredVersion[],
): Promise<void> {
  const hashes = versions.flatMap(({ sha256: hash }) => hash ?? [])
  await Promise.allSettled(hashes.map((hash) => cache.delete(cacheKey(hash))))
}

type StoredFrame = Pick<StoredVersion, 'keyVersion' | 'sha256'> & { readonly frame: Uint8Array }

async function findFrame(
  { db, cache, later }: SecretStores,
  name: SecretName,
  version: StoredVersion,
): Promise<StoredFrame | undefined> {
  const { sha256: hash } = version
  // A cache that is away, or has gone bad, is no reason to fail while the truth is at hand.
  const cached = hash === null ? null : await cache.get(cacheKey(hash), 'arrayBuffer').catch(() => null)
  if (cached !== null && isGenuine(new Uint8Array(cached), hash))
    return { ...version, frame: new Uint8Array(cached) }
  // With what belongs to it: the same value may have been put under another key since its row was read.
  const row = await db
    .prepare(
      'SELECT frame, key_version, sha256 FROM secret_versions WHERE name = ? AND version = ? AND frame IS NOT NULL',
    )
    .bind(name, version.version)
    .first<{ frame: number[] | ArrayBuffer; key_version: number | null; sha256: string | null }>()
  if (row === null) return undefined
  const stored = { frame: new Uint8Array(row.frame), keyVersion: row.key_version, sha256: row.sha256 }
  if (stored.sha256 !== null)
    later(cache.put(cacheKey(stored.sha256), stored.frame, { expirationTtl: CACHE_SECONDS }))
  return stored
}

const isGenuine = (frame: Uint8Array, hash: string | null): boolean =>
  hash === null || frameHash(frame) === hash

const frameHash = (frame: Uint8Array): string => bytesToHex(sha256(frame))

const cacheKey = (hash: string): string => `frame:v2:${hash}`
