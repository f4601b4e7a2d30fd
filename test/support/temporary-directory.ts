/** A directory for one test, short enough to hold a socket, and gone afterwards. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

export function temporaryDirectory(): string {
  const { path, remove } = openTemporaryDirectory()
  onTestFinished(remove)
  return path
}

/** Of a file's tests together, which removes it after them. */
export function openTemporaryDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'claw-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}
