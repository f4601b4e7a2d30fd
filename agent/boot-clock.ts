/** Which boot of this machine it is, and how long it has lasted: a clock that nobody sets, and that goes on while the machine sleeps. */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'
import type { BootClock } from './mesh/map-lease.ts'

const BOOT_ID = '/proc/sys/kernel/random/boot_id'

export function systemBootClock(): BootClock {
  return { boot: bootId(), uptimeMs: uptime() * 1000 }
}

let known: string | undefined

/** A system that does not say is another one each time: then the wall clock decides. */
function bootId(): string {
  try {
    known ??= readFileSync(BOOT_ID, 'utf8').trim()
  } catch {
    known ??= `unknown-${randomUUID()}`
  }
  return known
}
