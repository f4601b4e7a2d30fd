/** Data on standard output: plain tables for people, stable JSON for programs. */
import { plainJson, plainText } from './plain-text.ts'

interface Column<Row> {
  readonly header: string
  readonly value: (row: Row) => string
}

/** Aligned columns, without a rule or colour, so that the text survives a pipe. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const lines = [
    columns.map(({ header }) => header),
    ...rows.map((row) => columns.map(({ value }) => plainText(value(row)))),
  ]
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => (line[index] ?? '').length)))
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, index) => cell.padEnd(widths[index] ?? 0))
          .join('   ')
          .trimEnd()}\n`,
    )
    .join('')
}

export const printJson = (value: unknown): void => {
  process.stdout.write(`${plainJson(value, 2)}\n`)
}

/** A list as every `ls -o json` prints it. */
export const printJsonList = (kind: string, items: readonly unknown[]): void =>
  printJson({ apiVersion: 'claw/v1', kind, items })

const UNITS = [
  ['d', 86_400],
  ['h', 3_600],
  ['m', 60],
  ['s', 1],
] as const

/** `5m ago`, `in 2h`, `now`. */
export function ago(date: Date, now: Date): string {
  const seconds = Math.round((now.getTime() - date.getTime()) / 1000)
  const size = Math.abs(seconds)
  const [unit, length] = UNITS.find(([, length]) => size >= length) ?? ['s', 0]
  if (length === 0) return 'now'
  const span = `${Math.floor(size / length)}${unit}`
  return seconds > 0 ? `${span} ago` : `in ${span}`
}

/** One thing, a line for each of its properties. */
export function fields(entries: readonly (readonly [string, string])[]): string {
  const lines = entries.map((entry) => entry.map(plainText))
  const width = Math.max(...lines.map(([name = '']) => name.length))
  return lines.map(([name = '', value]) => `${name.padEnd(width)}   ${value}\n`).join('')
}
