/** The files of a node's state directory: what `clawnode` has put there, and what of it is removed when the node leaves. */
import { existsSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { removeWiped, wipeDirectory } from '../host/wiped-file.ts'
import { CHECKPOINT_FILE, REFUSED_FILE } from './audit-witness.ts'
import { GENERATION_FILE } from './generation.ts'
import { LOCK_FILE } from './local-api.ts'
import { SOCKET_FILE } from './local-status.ts'
import { KEY_FILES } from './node-keys.ts'
import { STATE_FILE } from './node-state.ts'
import { CACHE_DIRECTORY } from './secrets/secret-cache.ts'
import { LEASE_FILE, MAP_FILE } from './start-mesh.ts'

/** Without its keys a node can ask its gateway for nothing; without `node.json` there is none; with the lock no agent starts meanwhile. */
const LAST: readonly string[] = [...KEY_FILES, STATE_FILE, LOCK_FILE]
const OTHERS: readonly string[] = [
  GENERATION_FILE,
  CHECKPOINT_FILE,
  REFUSED_FILE,
  MAP_FILE,
  LEASE_FILE,
  SOCKET_FILE,
]
const OF_AN_INTERFACE = /^(interface|names|forwarding)-.+\.json$/
/** What writePrivateFile leaves when its process is killed. */
const HALF_WRITTEN = /^\.(.+)\.[0-9a-f]{16}$/

/**
 * Overwrites and removes them, and the directory if nothing else is in it. To be called by whoever holds the directory's lock.
 * @returns the names of what is left.
 */
export function removeState(directory: string): readonly string[] {
  const first = readdirSync(directory).filter((name) => isOurs(name) && !LAST.includes(name))
  wipeDirectory(join(directory, CACHE_DIRECTORY))
  for (const name of [...first, ...LAST]) removeWiped(join(directory, name))
  try {
    rmdirSync(directory)
  } catch {
    // It is not empty, or stays for a reason of its own: it is a mount, say, or a directory that a service manager has made.
  }
  return existsSync(directory) ? readdirSync(directory) : []
}

function isOurs(name: string): boolean {
  const [, finished] = HALF_WRITTEN.exec(name) ?? []
  const is = finished ?? name
  return LAST.includes(is) || OTHERS.includes(is) || OF_AN_INTERFACE.test(is)
}
