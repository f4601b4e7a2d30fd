/** Processes told apart by more than a number, because numbers are given again: pid, start time and executable. Linux only. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { UserError } from '../../host/user-error.ts'

export const ProcessIdentity = z.object({
  pid: z.int().positive(),
  startTime: z.string(),
  executable: z.string(),
})
export type ProcessIdentity = z.infer<typeof ProcessIdentity>

const END_TIMEOUT_MS = 5_000
const POLL_MS = 20
const CHILD_POLL_MS = 10

/** Undefined if there is no such process, it is not ours to look at, or the platform does not tell. */
export function identify(pid: number): ProcessIdentity | undefined {
  const status = readStatus(pid)
  if (status === undefined || status.state === 'Z') return undefined
  try {
    // The suffix appears when the file was replaced since, as by `npm ci`.
    const executable = readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, '')
    return { pid, startTime: status.startTime, executable }
  } catch {
    return undefined
  }
}

export const isAlive = (known: ProcessIdentity): boolean => isSame(known, identify(known.pid))

const isSame = (known: ProcessIdentity, found: ProcessIdentity | undefined): boolean =>
  found?.pid === known.pid && found.startTime === known.startTime && found.executable === known.executable

/** Tells of the child of that name, and of each that takes its place. */
export class ChildWatch {
  readonly #name: string
  readonly #onChild: (child: ProcessIdentity) => void
  #known: ProcessIdentity | undefined

  constructor(name: string, onChild: (child: ProcessIdentity) => void) {
    this.#name = name
    this.#onChild = onChild
  }

  /** Looks while it starts, so that even a `kill -9` before it serves leaves nothing behind that cannot be found. */
  async report(started: Promise<unknown>): Promise<void> {
    let isStarting = true
    void started
      .catch(() => {})
      .then(() => {
        isStarting = false
      })
    for (;;) {
      const child = findChild(this.#name)
      if (child !== undefined && !isSame(child, this.#known)) {
        this.#known = child
        return this.#onChild(child)
      }
      if (!isStarting) return
      await sleep(CHILD_POLL_MS)
    }
  }
}

/** A child of this process by the name of its executable. */
function findChild(name: string): ProcessIdentity | undefined {
  for (const pid of allPids()) {
    if (readStatus(pid)?.parent !== process.pid) continue
    const child = identify(pid)
    if (child !== undefined && basename(child.executable) === name) return child
  }
  return undefined
}

/** Ends exactly this process, and returns once it is gone. */
export async function endProcess(known: ProcessIdentity): Promise<void> {
  if (!isAlive(known)) return
  process.kill(known.pid, 'SIGKILL')
  for (let waited = 0; waited < END_TIMEOUT_MS; waited += POLL_MS) {
    if (!isAlive(known)) return
    await sleep(POLL_MS)
  }
  throw new UserError({
    code: 'E_STALE_PROCESS',
    message: `process ${known.pid}, left behind by an earlier run, does not end`,
    fix: `kill -9 ${known.pid}`,
  })
}

function readStatus(pid: number): { state: string; parent: number; startTime: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the program's name in brackets and may hold anything; proc(5) numbers the first one behind it 3.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const [state, parent, startTime] = [fields[0], fields[1], fields[19]]
    return state && parent && startTime ? { state, parent: Number(parent), startTime } : undefined
  } catch {
    return undefined
  }
}

function allPids(): number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger)
  } catch {
    return []
  }
}
