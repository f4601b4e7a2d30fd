/** Whether a sample says something new. The rest is left unsent: an idle fleet must cost nothing. */
import type { Telemetry } from '../../protocol/frames.ts'

const CPU_POINTS = 20
const MEMORY_SHARE = 0.1
const LOAD = 1
const LOAD_SHARE = 0.5

export const changedMaterially = (before: Telemetry, now: Telemetry): boolean =>
  Math.abs((now.cpuPercent ?? 0) - (before.cpuPercent ?? 0)) >= CPU_POINTS ||
  Math.abs(now.memoryFreeBytes - before.memoryFreeBytes) >= MEMORY_SHARE * now.memoryTotalBytes ||
  now.memoryTotalBytes !== before.memoryTotalBytes ||
  loadMoved(before.load1, now.load1) ||
  now.uptimeSeconds < before.uptimeSeconds ||
  now.mesh?.reachable !== before.mesh?.reachable ||
  JSON.stringify(now.mesh?.summary?.paths) !== JSON.stringify(before.mesh?.summary?.paths)

/** Both by one and by half: 30 to 31 on a large machine is noise, and so is 0.1 to 0.3. */
function loadMoved(before: number, now: number): boolean {
  const change = Math.abs(now - before)
  return change >= LOAD && change >= LOAD_SHARE * Math.max(before, now)
}
