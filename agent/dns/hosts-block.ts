/**
 * The agent's lines within the text of /etc/hosts: a block between two marks, with the interface's name in them, so that the agents of one
 * machine do not take each other's. Everything else stays as it is, byte for byte; the text is latin1, in which every byte is a character.
 */

/** `\t`, and one name under `internal`: a line that this agent has written, and hardly anybody else. */
const OURS = /^[0-9a-f.:]+\t[a-z0-9-]+\.[a-z0-9-]+\.internal$/
const MARK = /^# (?:BEGIN|END) clawnode /

const beginOf = (iface: string): string => `# BEGIN clawnode ${iface}`
const endOf = (iface: string): string => `# END clawnode ${iface}`

export interface HostsLine {
  readonly address: string
  /** Fully qualified. A short name could be one that another line, or a name server, gives to somebody else. */
  readonly name: string
}

/** The block takes the place of the one before it, or comes last. @param lines none to be without. */
export function withBlock(text: string, iface: string, lines: readonly HostsLine[]): string {
  const { kept, at } = withoutBlock(text, iface)
  if (lines.length === 0) return kept.join('')
  const written = lines.map(({ address, name }) => `${address}\t${name}\n`)
  const block = [`${beginOf(iface)}\n`, ...written, `${endOf(iface)}\n`]
  const [before, after] = [kept.slice(0, at), kept.slice(at)]
  const last = before.at(-1)
  const gap = last === undefined || last.endsWith('\n') ? [] : ['\n']
  return [...before, ...gap, ...block, ...after].join('')
}

/** A block that somebody has edited loses its marks and what we have written; a foreign line in it, or after an end that is gone, stays. */
function withoutBlock(
  text: string,
  iface: string,
): { readonly kept: readonly string[]; readonly at: number } {
  const kept: string[] = []
  let at: number | undefined
  let inside = false
  for (const line of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    const content = line.trimEnd()
    if (content === beginOf(iface)) {
      at ??= kept.length
      inside = true
    } else if (content === endOf(iface)) {
      inside = false
    } else {
      if (MARK.test(content)) inside = false
      if (!inside || !OURS.test(content)) kept.push(line)
    }
  }
  return { kept, at: at ?? kept.length }
}
