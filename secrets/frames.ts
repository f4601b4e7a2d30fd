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
  const master = version.keyVersion === null ? undefined : stores.keyring.key(version.keyVersion)
  if (version.keyVersion !== null && master === undefined)
    return err(refusal('E_KEY_RETIRED', `key ${version.keyVersion}`))
  const frame = version.frame ?? (await readFrame(stores, name, version))
  // Destroyed since its row was read.
  if (frame === undefined) return err(refusal('E_SECRET_DESTROYED'))
  if (!isGenuine(frame, version.sha256)) return err(refusal('E_SECRET_CORRUPT'))
  if (master === undefined) return ok(SecretBytes.take(new Uint8Array(frame)))
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

async function readFrame(
  { db, cache, later }: SecretStores,
  name: SecretName,
  { version, sha256: hash }: StoredVersion,
): Promise<Uint8Array | undefined> {
  const cached = hash === null ? null : await cache.get(cacheKey(hash), 'arrayBuffer')
  // A cache that has gone bad is no reason to fail while the truth is at hand.
  if (cached !== null && isGenuine(new Uint8Array(cached), hash)) return new Uint8Array(cached)
  const row = await db
    .prepare('SELECT frame FROM secret_versions WHERE name = ? AND version = ? AND frame IS NOT NULL')
    .bind(name, version)
    .first<{ frame: number[] | ArrayBuffer }>()
  if (row === null) return undefined
  const frame = new Uint8Array(row.frame)
  if (hash !== null) later(cache.put(cacheKey(hash), frame, { expirationTtl: CACHE_SECONDS }))
  return frame
}

const isGenuine = (frame: Uint8Array, hash: string | null): boolean =>
  hash === null || frameHash(frame) === hash

const frameHash = (frame: Uint8Array): string => bytesToHex(sha256(frame))

const cacheKey = (hash: string): string => `frame:v2:${hash}`
