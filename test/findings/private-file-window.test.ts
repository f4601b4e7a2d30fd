/** M2.1: at no moment is a private file wider than 0600, as seen right after the call that creates it. */
import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { temporaryDirectory } from '../support/temporary-directory.ts'

interface Seen {
  readonly mode: number
  readonly exclusive: boolean
}

/** Watches every file that a call creates: its bits the moment it exists, before any later call could mend them. */
function modesSeen(umask: string, call: string): Seen[] {
  const module = pathToFileURL(join(import.meta.dirname, '../../host/private-file.ts')).href
  const script = `
    import fs from 'node:fs'
    import { syncBuiltinESMExports } from 'node:module'
    process.umask(0o${umask})
    const seen = []
    const { openSync, fstatSync, writeFileSync } = fs
    fs.openSync = (path, flags, mode) => {
      const file = openSync(path, flags, mode)
      if (flags & fs.constants.O_CREAT)
        seen.push({ mode: fstatSync(file).mode & 0o777, exclusive: (flags & fs.constants.O_EXCL) !== 0 })
      return file
    }
    fs.writeFileSync = (target, ...rest) => {
      writeFileSync(target, ...rest)
      if (typeof target === 'string') seen.push({ mode: fs.statSync(target).mode & 0o777, exclusive: false })
    }
    syncBuiltinESMExports()
    const file = await import(${JSON.stringify(module)})
    ${call}
    process.stdout.write(JSON.stringify(seen))`
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  return JSON.parse(output) as Seen[]
}

describe.each(['000', '022', '077'])('under umask %s', (umask) => {
  test.each(['writePrivateFile', 'createPrivateFile'])(
    '%s creates no file that others could open for a moment',
    (call) => {
      const path = join(temporaryDirectory(), 'key')
      const seen = modesSeen(umask, `file.${call}(${JSON.stringify(path)}, 'x')`)
      expect(seen).toEqual([{ mode: 0o600, exclusive: true }])
      expect(statSync(path).mode & 0o777).toBe(0o600)
    },
  )
})
