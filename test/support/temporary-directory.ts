/** A directory for one test, short enough to hold a socket, and gone afterwards. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'claw-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}
