/**
 * A note in the state directory of what this node has put into the machine's own name resolution, written before it does: whoever runs
 * next takes it away, however this one ended. Lines in /etc/hosts outlive the boot, what systemd-resolved was told does not.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { readPrivateFile, writePrivateFile } from '../../host/private-file.ts'
import { parseJson } from '../../protocol/json.ts'
import { bootId } from '../mesh/interface-record.ts'

const Hook = z.enum(['resolved', 'hosts'])
export type Hook = z.infer<typeof Hook>

const Content = z.strictObject({
  iface: z.string(),
  boot: z.string(),
  /** Of the interface: one that was made since is not to be touched. */
  index: z.int().optional(),
  hooks: z.array(Hook),
})

const FILE = /^names-(.+)\.json$/

export class NamesRecord {
  readonly #path: string
  readonly #iface: string

  constructor(stateDirectory: string, iface: string) {
    this.#path = join(stateDirectory, `names-${iface}.json`)
    this.#iface = iface
  }

  write(hooks: readonly Hook[]): void {
    const index = interfaceIndex(this.#iface)
    const content = { iface: this.#iface, boot: bootId(), ...(index !== undefined && { index }), hooks }
    writePrivateFile(this.#path, `${JSON.stringify(content)}\n`)
  }

  /** What may still be there. */
  read(): readonly Hook[] {
    const text = readPrivateFile(this.#path)
    if (text === undefined) return []
    const content = Content.safeParse(parseJson(Buffer.from(text).toString('utf8')))
    if (!content.success) return ['hosts']
    const { boot, index, hooks } = content.data
    const sameLink = boot === bootId() && index === interfaceIndex(this.#iface)
    return hooks.filter((hook) => hook === 'hosts' || sameLink)
  }

  remove(): void {
    rmSync(this.#path, { force: true })
  }
}

/** The interfaces for which there is a note. */
export const recordedInterfaces = (stateDirectory: string): string[] =>
  readdirSync(stateDirectory).flatMap((name) => FILE.exec(name)?.[1] ?? [])

function interfaceIndex(iface: string): number | undefined {
  try {
    return Number(readFileSync(`/sys/class/net/${iface}/ifindex`, 'utf8'))
  } catch {
    return undefined
  }
}
