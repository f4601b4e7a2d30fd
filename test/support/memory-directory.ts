/** A directory in memory for one test, as a service manager gives one, and gone afterwards. */
import { mkdtempSync, rmSync } from 'node:fs'
import { onTestFinished } from 'vitest'

export function memoryDirectory(): string {
  const path = mkdtempSync('/dev/shm/claw-')
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}
