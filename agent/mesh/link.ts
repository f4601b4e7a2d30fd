/** Network links, by `ip`. */
import * as z from 'zod'
import { CommandError, type Commands } from './exec.ts'

const Links = z.array(
  z.object({ ifindex: z.int(), linkinfo: z.object({ info_kind: z.string().optional() }).optional() }),
)

export interface Link {
  readonly index: number
  /** `wireguard`, `tun`, …; undefined for hardware. */
  readonly kind: string | undefined
}

/** Undefined if there is no link of this name. */
export async function findLink(commands: Commands, name: string): Promise<Link | undefined> {
  try {
    const output = await commands.run('ip', ['-json', '-details', 'link', 'show', 'dev', name])
    const [link] = Links.parse(parseIpJson(output))
    return link && { index: link.ifindex, kind: link.linkinfo?.info_kind }
  } catch (error) {
    if (error instanceof CommandError && error.detail.includes('does not exist')) return undefined
    throw error
  }
}

/** `ip -json` prints nothing at all where there is nothing to list. */
export function parseIpJson(output: Uint8Array): unknown {
  const text = Buffer.from(output).toString('utf8').trim()
  return text === '' ? [] : JSON.parse(text)
}
