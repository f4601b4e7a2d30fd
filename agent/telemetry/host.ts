/** What the operating system says of this machine. */
import { cpus, freemem, loadavg, totalmem, uptime } from 'node:os'
import type { Telemetry } from '../../protocol/frames.ts'

/** Processor time since boot, over all cores, in milliseconds. */
interface CpuTime {
  readonly busy: number
  readonly total: number
}

export class HostTelemetry {
  #previous: CpuTime | undefined

  /** `cpuPercent` covers the time since the last sample, so the first one has none. */
  sample(): Telemetry {
    const current = cpuTime()
    const cpuPercent = this.#previous && busyPercent(this.#previous, current)
    this.#previous = current
    return {
      uptimeSeconds: Math.floor(uptime()),
      load1: loadavg()[0] ?? 0,
      memoryTotalBytes: totalmem(),
      memoryFreeBytes: freemem(),
      ...(cpuPercent !== undefined && { cpuPercent }),
    }
  }
}

function cpuTime(): CpuTime {
  let busy = 0
  let total = 0
  for (const { times } of cpus()) {
    const working = times.user + times.nice + times.sys + times.irq
    busy += working
    total += working + times.idle
  }
  return { busy, total }
}

/** Undefined if no time passed or the counters ran backwards, as they do when a core is taken away. */
export function busyPercent(before: CpuTime, now: CpuTime): number | undefined {
  const total = now.total - before.total
  const busy = now.busy - before.busy
  if (total <= 0 || busy < 0 || busy > total) return undefined
  return Math.round((1000 * busy) / total) / 10
}
