/** The memory of a process, as its owner can read it. */
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'

const CHUNK_BYTES = 16 * 1024 * 1024

/** The process and everything it has started. */
export function familyOf(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => [Number(name), parentOf(name)] as const)
  const family = [pid]
  // Grows while it is walked.
  for (const member of family)
    family.push(...parents.filter(([, parent]) => parent === member).map(([id]) => id))
  return family
}

/** Which of these byte strings lie in memory that the process can write. */
export function inMemory(pid: number, needles: readonly Buffer[]): Buffer[] {
  const found = new Set<Buffer>()
  const overlap = Math.max(...needles.map(({ length }) => length)) - 1
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    for (const [begin, end] of writableRanges(pid)) {
      for (let at = begin; at < end; at += CHUNK_BYTES) {
        const chunk = readAt(memory, at, Math.min(CHUNK_BYTES + overlap, end - at))
        for (const needle of needles) if (chunk.includes(needle)) found.add(needle)
      }
    }
  } finally {
    closeSync(memory)
  }
  return [...found]
}

function writableRanges(pid: number): [number, number][] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'utf8').matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw/gm)
  return Array.from(lines, ([, begin, end]) => [
    Number.parseInt(begin ?? '', 16),
    Number.parseInt(end ?? '', 16),
  ])
}

/** Some ranges cannot be read (a guard page, a device): nothing lies there. */
function readAt(file: number, position: number, length: number): Buffer {
  const buffer = Buffer.allocUnsafe(length)
  try {
    return buffer.subarray(0, readSync(file, buffer, 0, length, position))
  } catch {
    return Buffer.alloc(0)
  }
}

function parentOf(pid: string): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return 0
  }
}
