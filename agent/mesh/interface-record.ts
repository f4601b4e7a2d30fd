/**
 * A note in the state directory that an interface is ours. An agent that was killed before it had set its key, or that has changed its
 * key since, knows its interface by it.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { readPrivateFile, writePrivateFile } from '../../host/private-file.ts'
import { parseJson } from '../../protocol/json.ts'

const Content = z.strictObject({
  iface: z.string(),
  /** An interface does not outlive the boot, though its name and index may come back. */
  boot: z.string(),
  /** Absent while the interface is being made. */
  index: z.int().optional(),
  /** Of wireguard-go. */
  pid: z.int().positive().optional(),
})
const FILE = /^interface-(.+)\.json$/
type Content = z.infer<typeof Content>

export class InterfaceRecord {
  readonly #path: string

  constructor(stateDirectory: string, iface: string) {
    this.#path = join(stateDirectory, `interface-${iface}.json`)
  }

  write(content: Omit<Content, 'boot'>): void {
    writePrivateFile(this.#path, `${JSON.stringify({ ...content, boot: bootId() })}\n`)
  }

  /** Undefined if there is none of this boot. */
  read(): Omit<Content, 'boot'> | undefined {
    const content = Content.safeParse(parseJson(readPrivateFile(this.#path) ?? ''))
    return content.success && content.data.boot === bootId() ? content.data : undefined
  }

  remove(): void {
    rmSync(this.#path, { force: true })
  }
}

/** The interfaces for which there is a note. */
export const notedInterfaces = (stateDirectory: string): string[] =>
  readdirSync(stateDirectory).flatMap((name) => FILE.exec(name)?.[1] ?? [])

export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
