/**
 * Lets this machine forward between the mesh and networks behind it: on the interfaces that need it, and only there. What is changed is noted
 * before, and put back when nothing needs it any more, also by an agent that did not change it itself. Where forwarding is on already, or is
 * turned on for the whole machine meanwhile (docker does), it is the machine's, and is left alone.
 */
import * as z from 'zod'
import { utf8 } from '../../crypto/bytes.ts'
import { parseJson } from '../../protocol/json.ts'
import { CommandError, type Commands } from './exec.ts'
import type { Family } from './ip-ranges.ts'

/** Settings below /proc/sys/net that were 0. */
const Note = z.array(z.string().regex(/^ipv[46]\/conf\/[A-Za-z0-9_.-]{1,15}\/(force_)?forwarding$/))

export interface ForwardingNote {
  load(): string | undefined
  /** Undefined: there is nothing left to put back. */
  save(text: string | undefined): void
}

export interface Devices {
  readonly family: Family
  readonly devices: readonly string[]
}

/** Of the machine as a whole. */
const GLOBAL: Readonly<Record<Family, string>> = { ipv4: 'ipv4/ip_forward', ipv6: 'ipv6/conf/all/forwarding' }

/** For IPv6 forwarding is the machine's as a whole, and changes how it takes its own router's word; since Linux 6.17 a single interface can be told. */
const pathOf = (family: Family, device: string): string =>
  family === 'ipv4' ? `ipv4/conf/${device}/forwarding` : `ipv6/conf/${device}/force_forwarding`

export class Forwarding {
  readonly #commands: Commands
  readonly #note: ForwardingNote
  readonly #changed: Set<string>

  constructor(commands: Commands, note: ForwardingNote) {
    this.#commands = commands
    this.#note = note
    this.#changed = new Set(Note.safeParse(parseJson(note.load() ?? '[]')).data ?? [])
  }

  async canForwardIpv6(): Promise<boolean> {
    return (await this.#isOn(GLOBAL.ipv6)) || (await this.#read(pathOf('ipv6', 'lo'))) !== undefined
  }

  /** Which of them forward only since we said so, or would. */
  async opened({ family, devices }: Devices): Promise<string[]> {
    await this.#leaveToMachine(family)
    if (await this.#isOn(GLOBAL[family])) return []
    const found = await Promise.all(
      devices.map(async (device) => {
        const path = pathOf(family, device)
        return this.#changed.has(path) || !(await this.#isOn(path)) ? [device] : []
      }),
    )
    return found.flat()
  }

  async follow(wanted: readonly Devices[]): Promise<void> {
    for (const { family, devices } of wanted) {
      await this.#leaveToMachine(family)
      const paths = devices.map((device) => pathOf(family, device))
      for (const path of this.#changed)
        if (path.startsWith(family) && !paths.includes(path)) await this.#putBack(path)
      if (await this.#isOn(GLOBAL[family])) continue
      for (const path of paths) {
        if (this.#changed.has(path) || (await this.#read(path)) !== '0') continue
        this.#changed.add(path)
        this.#save()
        await this.#write(path, '1')
      }
    }
  }

  async #leaveToMachine(family: Family): Promise<void> {
    const paths = [...this.#changed].filter((path) => path.startsWith(family))
    if (paths.length === 0 || !(await this.#isOn(GLOBAL[family]))) return
    for (const path of paths) this.#changed.delete(path)
    this.#save()
  }

  async #putBack(path: string): Promise<void> {
    // The interface may be gone, and its setting with it.
    if ((await this.#read(path)) !== undefined) await this.#write(path, '0')
    this.#changed.delete(path)
    this.#save()
  }

  #save(): void {
    this.#note.save(this.#changed.size === 0 ? undefined : JSON.stringify([...this.#changed]))
  }

  async #isOn(path: string): Promise<boolean> {
    return (await this.#read(path)) === '1'
  }

  /** Undefined if there is no such setting. */
  async #read(path: string): Promise<string | undefined> {
    try {
      return Buffer.from(await this.#commands.run('cat', [`/proc/sys/net/${path}`]))
        .toString('latin1')
        .trim()
    } catch (error) {
      if (error instanceof CommandError) return undefined
      throw error
    }
  }

  async #write(path: string, value: '0' | '1'): Promise<void> {
    await this.#commands.run('tee', [`/proc/sys/net/${path}`], utf8(`${value}\n`))
  }
}
