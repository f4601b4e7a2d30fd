/** What the documentation's tables say, read so that tests can hold it against the code. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const ROOT = new URL('../../', import.meta.url)

export const inRoot = (path: string): string => fileURLToPath(new URL(path, ROOT))
export const readText = (path: string): string => readFileSync(inRoot(path), 'utf8')

/** A module of the gateway, whose types are not those of Node's projects. */
export const importGateway = async <T>(path: string): Promise<T> => (await import(inRoot(path))) as T

/** The lines under a heading, up to the next one of its own or a higher level. @param heading with its hashes. */
export function section(path: string, heading: string): string {
  const lines = readText(path).split('\n')
  const start = lines.indexOf(heading)
  if (start === -1) throw new Error(`${path} has no heading ${heading}`)
  const level = levelOf(heading)
  const length = lines.slice(start + 1).findIndex((line) => levelOf(line) > 0 && levelOf(line) <= level)
  return lines.slice(start + 1, length === -1 ? undefined : start + 1 + length).join('\n')
}

/** The cells of every table row, without heads. */
export function rows(markdown: string): string[][] {
  const lines = markdown.split('\n').filter((line) => line.startsWith('|'))
  return lines
    .filter((line, index) => !isRule(line) && !isRule(lines[index + 1] ?? ''))
    .map((line) =>
      line
        .slice(1, line.lastIndexOf('|'))
        .split('|')
        .map((cell) => cell.trim()),
    )
}

/** The text between the first pair of backticks. */
export const code = (cell = ''): string => /`([^`]*)`/.exec(cell)?.[1] ?? cell

const isRule = (line: string): boolean => /^\|[\s:|-]+\|$/.test(line)
const levelOf = (line: string): number => /^(#+) /.exec(line)?.[1]?.length ?? 0
