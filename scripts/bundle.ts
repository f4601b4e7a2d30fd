/** That Cloudflare would take the Worker as it is, and that it stays small: a large bundle is a slow cold start. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { run } from './run.ts'

/** The design's budget. */
const MAX_GZIP_BYTES = 350 * 1024

export function checkBundle(): number {
  const directory = mkdtempSync(join(tmpdir(), 'claw-bundle-'))
  try {
    const status = run('wrangler', ['deploy', '--dry-run', '--outdir', directory])
    if (status !== 0) return status
    const size = gzipSync(readFileSync(join(directory, 'index.js'))).length
    process.stdout.write(
      `gateway bundle: ${Math.round(size / 1024)} KiB gzip, at most ${MAX_GZIP_BYTES / 1024}\n`,
    )
    return size <= MAX_GZIP_BYTES ? 0 : 1
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
