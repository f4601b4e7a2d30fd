/**
 * Secrets kept for when the gateway is away, so that a node that boots meanwhile still starts its jobs: `secrets-cache` in the state
 * directory, a file for each, sealed under the node's own key. Each is good for a time after it was fetched. A clock that was set back
 * does not make that longer: the newest time seen is kept as well, and before it nothing opens.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { fromBase64Url, lengthPrefixed, toBase64Url } from '../../crypto/bytes.ts'
import { deriveCacheKey, openCached, sealCached } from '../../crypto/cached-secret.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { ensurePrivateDirectory, readPrivateFile, writePrivateFile } from '../../host/private-file.ts'
import type { FleetId, NodeId } from '../../protocol/ids.ts'
import { SecretName } from '../../protocol/ids.ts'
import { parseJson } from '../../protocol/json.ts'
import { MAX_CLOCK_OFFSET_MS } from '../../protocol/limits.ts'
import { err, ok, type Result } from '../../protocol/result.ts'
import { WorkloadName } from '../../protocol/secret-policy.ts'
import { SecretClass } from '../../protocol/secrets.ts'
import type { Log } from '../log.ts'
import type { ReceivedSecret } from './received.ts'
import type { SecretReference } from './reference.ts'

export const CACHE_DIRECTORY = 'secrets-cache'
const NEWEST_FILE = 'newest.json'

/** In clear is what must be known to take a value away again; all of it is bound to the value. */
const Entry = z.strictObject({
  name: SecretName,
  /** The version that was asked for; null for the newest. */
  asked: z.int().positive().nullable(),
  /** Whose it is: another job of this node may not be allowed it. */
  workload: WorkloadName.nullable(),
  version: z.int().positive(),
  class: SecretClass,
  /** When it was fetched, in Unix milliseconds by the gateway's clock. */
  at: z.int().nonnegative(),
  box: z.string(),
})
type Entry = z.infer<typeof Entry>

const Newest = z.strictObject({ at: z.int().nonnegative(), box: z.string() })

export interface CachedSecret extends ReceivedSecret {
  readonly at: number
}

/** Why a value is not to be had from here. */
export type CacheMiss = 'absent' | 'expired' | 'corrupt' | 'clock set back'

interface Options {
  /** The node's state directory. */
  readonly directory: string
  readonly fleet: FleetId
  readonly node: NodeId
  readonly maxAgeMs: number
  /** The node's private key; the caller of it wipes it. */
  readonly sealing: () => SecretBytes
  /** Unix milliseconds. */
  readonly now: () => number
}

export class SecretCache {
  readonly #options: Options
  readonly #path: string

  constructor(options: Options) {
    this.#options = options
    this.#path = join(options.directory, CACHE_DIRECTORY)
  }

  /** After they were fetched, and so at a time that the gateway has agreed with. */
  keep(
    secrets: readonly { readonly reference: SecretReference; readonly received: ReceivedSecret }[],
    workload?: WorkloadName,
  ): void {
    const at = this.#options.now()
    ensurePrivateDirectory(this.#path)
    this.#removeExpired(at)
    using key = this.#key()
    this.#writeNewest(key, at)
    for (const { reference, received } of secrets) {
      const { value, version, class: secretClass } = received
      const { name, version: asked = null } = reference
      const header = { name, asked, workload: workload ?? null, version, class: secretClass, at }
      const entry: Entry = { ...header, box: toBase64Url(sealCached(key, value, this.#binding(header))) }
      writePrivateFile(this.#pathOf(reference, workload), `${JSON.stringify(entry)}\n`)
    }
  }

  /** Whether there is something of each, good or not. */
  hasAll(references: readonly SecretReference[], workload?: WorkloadName): boolean {
    return references.every((reference) => existsSync(this.#pathOf(reference, workload)))
  }

  find(reference: SecretReference, workload?: WorkloadName): Result<CachedSecret, CacheMiss> {
    const entry = readEntry(this.#pathOf(reference, workload))
    if (!entry.ok) return entry
    const { box, ...header } = entry.value
    // What it says of itself is not known to be true before it opens; nothing is given away by refusing it sooner.
    if (!isFor(header, reference, workload)) return err('corrupt')
    using key = this.#key()
    const newest = this.#readNewest(key)
    if (newest === undefined) return err('corrupt')
    const now = this.#options.now()
    if (now + MAX_CLOCK_OFFSET_MS < newest) return err('clock set back')
    if (Math.max(now, newest) - header.at > this.#options.maxAgeMs) return err('expired')
    const opened = openCached(key, fromBase64Url(box) ?? new Uint8Array(), this.#binding(header))
    if (!opened.ok) return opened
    if (now > newest) this.#writeNewest(key, now)
    return ok({ value: opened.value, version: header.version, class: header.class, at: header.at })
  }

  #removeExpired(now: number): void {
    for (const path of entryPaths(this.#options.directory)) {
      const entry = readEntry(path)
      if (!entry.ok || now - entry.value.at > this.#options.maxAgeMs) rmSync(path, { force: true })
    }
  }

  #key(): SecretBytes {
    using sealing = this.#options.sealing()
    return deriveCacheKey(sealing)
  }

  #writeNewest(key: SecretBytes, at: number): void {
    using nothing = SecretBytes.take(new Uint8Array())
    const box = toBase64Url(sealCached(key, nothing, this.#newestBinding(at)))
    writePrivateFile(join(this.#path, NEWEST_FILE), `${JSON.stringify({ at, box })}\n`)
  }

  /** Undefined if it is gone or was changed. */
  #readNewest(key: SecretBytes): number | undefined {
    const content = readPrivateFile(join(this.#path, NEWEST_FILE))
    const newest = Newest.safeParse(content && parseJson(content)).data
    const box = newest && fromBase64Url(newest.box)
    if (newest === undefined || box === undefined) return undefined
    return openCached(key, box, this.#newestBinding(newest.at)).ok ? newest.at : undefined
  }

  #newestBinding(at: number): string[] {
    return ['newest', this.#options.fleet, this.#options.node, String(at)]
  }

  #binding({ name, asked, workload, version, class: secretClass, at }: Omit<Entry, 'box'>): string[] {
    const { fleet, node } = this.#options
    return [
      'secret',
      fleet,
      node,
      name,
      String(asked),
      String(workload),
      String(version),
      secretClass,
      String(at),
    ]
  }

  #pathOf({ name, version }: SecretReference, workload: WorkloadName | undefined): string {
    const asked = lengthPrefixed(name, String(version ?? null), String(workload ?? null))
    return join(this.#path, `${createHash('sha256').update(asked).digest('hex')}.json`)
  }
}

/**
 * Needs no key, so that whoever hears of a change can do it; and fails at nothing but its own task. @param names all if there are none given.
 */
export function forgetCached(directory: string, log: Log, names?: readonly SecretName[]): void {
  try {
    if (names === undefined) rmSync(join(directory, CACHE_DIRECTORY), { recursive: true, force: true })
    for (const path of entryPaths(directory)) {
      const entry = readEntry(path)
      // One that cannot be read might be of that name.
      if (!entry.ok || names?.includes(entry.value.name)) rmSync(path, { force: true })
    }
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    log.error('secrets that are kept on this node could not be removed', { problem })
  }
}

const isFor = (
  header: Pick<Entry, 'name' | 'asked' | 'workload'>,
  { name, version }: SecretReference,
  workload: WorkloadName | undefined,
): boolean =>
  header.name === name && header.asked === (version ?? null) && header.workload === (workload ?? null)

function entryPaths(directory: string): string[] {
  const path = join(directory, CACHE_DIRECTORY)
  try {
    return readdirSync(path)
      .filter((name) => /^[0-9a-f]{64}\.json$/.test(name))
      .map((name) => join(path, name))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}

function readEntry(path: string): Result<Entry, 'absent' | 'corrupt'> {
  const content = readPrivateFile(path)
  if (content === undefined) return err('absent')
  const entry = Entry.safeParse(parseJson(content)).data
  return entry === undefined ? err('corrupt') : ok(entry)
}
