/**
 * Where the secrets of one running command are files: in memory (tmpfs), never on a disk, in a directory of its own that goes with this
 * process. `kill -9` leaves it behind; whoever comes next takes it away, because its name says whose it was. Linux only.
 */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statfsSync,
} from 'node:fs'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { EXIT, UserError } from '../../host/user-error.ts'
import { wipeDirectory } from '../../host/wiped-file.ts'
import { err, ok, type Result } from '../../protocol/result.ts'

/** statfs(2). */
const IN_MEMORY = [0x01021994, 0x858458f6]
const WRITABLE_BY_OTHERS = 0o022
/** Only its owner renames what is in such a directory. */
const STICKY = 0o1000

export class RuntimeDirectory {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** @throws UserError if there is no memory to put files in; it says where it looked. */
  static open(env: NodeJS.ProcessEnv): RuntimeDirectory {
    const base = findBase(env)
    removeOrphans(base)
    const path = join(base, `exec-${ownName()}`)
    makeDirectory(path)
    return new RuntimeDirectory(path)
  }

  /** Wipes and removes everything in it, and itself. */
  remove(): void {
    wipeDirectory(this.path)
  }
}

/** The first place that will do. One that its user has chosen comes before the system's. */
function findBase(env: NodeJS.ProcessEnv): string {
  const own = env['XDG_RUNTIME_DIR']
  const uid = process.getuid?.() ?? 0
  const candidates = [
    ...(own !== undefined && isAbsolute(own) ? [join(own, 'clawnode')] : []),
    '/run/clawnode',
    `/dev/shm/clawnode-${uid}`,
  ]
  const reasons: string[] = []
  for (const candidate of candidates) {
    const base = makeBase(candidate, uid)
    if (base.ok) return base.value
    reasons.push(`${candidate}: ${base.error}`)
  }
  throw new UserError({
    code: 'E_NO_TMPFS',
    message: 'there is no place in memory for secrets as files, and on a disk they are not put',
    why: reasons.join('; '),
    fix: 'mount a tmpfs and name it in XDG_RUNTIME_DIR, for a service with RuntimeDirectory=clawnode; or use --secret',
    exitCode: EXIT.badConfig,
  })
}

/** Where it is once links are followed, if that is ours and in memory; else why not. */
function makeBase(wanted: string, uid: number): Result<string, string> {
  let path: string
  try {
    const parent = realpathSync(dirname(wanted))
    path = join(parent, basename(wanted))
    const stranger = whoElseChanges(parent, uid)
    if (stranger !== undefined) return err(stranger)
    if (!isInMemory(parent) && !isInMemory(path)) return err('not a tmpfs')
  } catch (error) {
    return err(codeOf(error))
  }
  try {
    makeDirectory(path)
  } catch (error) {
    const code = codeOf(error)
    if (code !== 'EEXIST') return err(code)
  }
  const status = lstatSync(path)
  if (!status.isDirectory()) return err('not a directory')
  if (status.uid !== uid) return err('another user owns it')
  if ((status.mode & WRITABLE_BY_OTHERS) !== 0) return err('others can write to it')
  return isInMemory(path) ? ok(path) : err('not a tmpfs')
}

/** Whoever can rename a directory on the way can put another in its place, and have secrets written, or files wiped, where they like. */
function whoElseChanges(path: string, uid: number): string | undefined {
  const { uid: owner, mode } = lstatSync(path)
  if (owner !== uid && owner !== 0) return `another user owns ${path}`
  if ((mode & WRITABLE_BY_OTHERS) !== 0 && (mode & STICKY) === 0) return `others can write to ${path}`
  return dirname(path) === path ? undefined : whoElseChanges(dirname(path), uid)
}

function makeDirectory(path: string): void {
  mkdirSync(path, { mode: 0o700 })
  // A umask can only take bits away; without this an odd one would shut its owner out.
  chmodSync(path, 0o700)
}

function isInMemory(path: string): boolean {
  try {
    return IN_MEMORY.includes(statfsSync(path).type)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

/** A pid is given again, and is another process's in another container that shares the directory. */
const ownName = (): string => `${pidNamespace()}-${process.pid}-${startTime(process.pid)}`

function removeOrphans(base: string): void {
  for (const name of readdirSync(base)) {
    const [, namespace, pid, started] = /^exec-(\d+)-(\d+)-(\d+)$/.exec(name) ?? []
    if (namespace !== pidNamespace() || startTime(Number(pid)) === started) continue
    wipeDirectory(join(base, name))
  }
}

const pidNamespace = (): string => /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? ''

/** Field 22 of proc_pid_stat(5); the name before it may hold anything. Undefined if there is no such process. */
function startTime(pid: number): string | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return status.slice(status.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error)
