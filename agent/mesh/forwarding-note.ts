/** A note in the state directory of what was changed to let this machine forward for the mesh. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { readPrivateFile, writePrivateFile } from '../../host/private-file.ts'
import { parseJson } from '../../protocol/json.ts'
import type { ForwardingNote } from './forwarding.ts'
import { bootId } from './interface-record.ts'

const Note = z.object({ boot: z.string(), changed: z.string() })

/** A restart of the machine undoes what was changed, and the note then says nothing of it. */
export function forwardingNote(stateDirectory: string, iface: string): ForwardingNote {
  const path = join(stateDirectory, `forwarding-${iface}.json`)
  return {
    load: () => {
      const note = Note.safeParse(parseJson(readPrivateFile(path) ?? ''))
      return note.success && note.data.boot === bootId() ? note.data.changed : undefined
    },
    save: (changed) => {
      if (changed === undefined) rmSync(path, { force: true })
      else writePrivateFile(path, `${JSON.stringify({ boot: bootId(), changed })}\n`)
    },
  }
}
