/**
 * `.env` files, read as the `dotenv` package reads them: `export`, comments, quotes, values over several lines, `\n` and `\r` within double
 * quotes. Unlike it, a line that means nothing is a problem: it may be half of a value.
 */

interface DotenvEntry {
  readonly key: string
  readonly value: string
  readonly line: number
}

/** What is wrong with a line, or worth saying of it: never with what is on it, which may be a secret. */
interface LineRemark {
  readonly line: number
  readonly message: string
}

export interface Dotenv {
  readonly entries: readonly DotenvEntry[]
  readonly problems: readonly LineRemark[]
  readonly notes: readonly LineRemark[]
}

const BLANK_OR_COMMENT = /[ \t\v\f\u00a0\ufeff]*(?:#[^\n]*)?(?:\n|$)/y
const ASSIGNMENT = /[ \t]*(?:export[ \t]+)?([\w.-]+)(?:[ \t]*=|:(?=[ \t]|\n|$))[ \t]*/y
const QUOTED = /'(?:\\'|[^'])*'|"(?:\\"|[^"])*"|`(?:\\`|[^`])*`/y
const PLAIN = /[^#\n]*/y

export function parseDotenv(content: string): Dotenv {
  const text = content.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n')
  const entries: DotenvEntry[] = []
  const problems: LineRemark[] = []
  const notes: LineRemark[] = []
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match === null) return undefined
    at = pattern.lastIndex
    return match
  }
  const skipLine = (): void => {
    const end = text.indexOf('\n', at)
    at = end < 0 ? text.length : end + 1
  }

  while (at < text.length) {
    if (take(BLANK_OR_COMMENT)) continue
    const start = at
    const line = lineAt(text, start)
    const key = take(ASSIGNMENT)?.[1]
    if (key === undefined) {
      problems.push({ line, message: 'is not of the form NAME=value' })
      skipLine()
      continue
    }
    const quoted = /['"`]/.test(text.charAt(at)) ? take(QUOTED)?.[0] : undefined
    if (quoted !== undefined && take(BLANK_OR_COMMENT)) {
      entries.push({ key, value: unquote(quoted), line })
      continue
    }
    if (/['"`]/.test(text.charAt(quoted === undefined ? at : at - quoted.length))) {
      problems.push({
        line,
        message: quoted === undefined ? 'opens a quote that is never closed' : AFTER_QUOTE,
      })
      skipLine()
      continue
    }
    const value = take(PLAIN)?.[0] ?? ''
    if (text.charAt(at) === '#' && !/\s$/.test(value) && value !== '')
      notes.push({ line, message: 'what follows # counts as a comment; quote the value if it belongs to it' })
    entries.push({ key, value: value.trim(), line })
    skipLine()
  }
  return { entries, problems, notes }
}

const AFTER_QUOTE = 'has something behind the closing quote'

function unquote(quoted: string): string {
  const inner = quoted.slice(1, -1)
  return quoted.startsWith('"') ? inner.replaceAll('\\n', '\n').replaceAll('\\r', '\r') : inner
}

function lineAt(text: string, index: number): number {
  let line = 1
  for (let at = text.indexOf('\n'); at >= 0 && at < index; at = text.indexOf('\n', at + 1)) line++
  return line
}

/**
 * One line (or several) that `dotenv` and a shell both read as this value; undefined if there is no such form. Between single quotes
 * neither changes anything; between double quotes a shell would run what is in `$(...)`, so nothing of the kind may be in there.
 */
export function dotenvLine(key: string, value: string): string | undefined {
  if (/[\0\r]/.test(value)) return undefined
  // A backslash before the closing quote would hide it from dotenv.
  if (!value.includes("'") && !value.endsWith('\\')) return `${key}='${value}'\n`
  return /["$`\\!]/.test(value) ? undefined : `${key}="${value}"\n`
}
