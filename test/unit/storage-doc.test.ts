/** docs/storage.md names every table, column, index and trigger there is, every field of a socket's attachment, and nothing else. */
import { globSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { code, inRoot, readText, rows, section } from './markdown.ts'

const STORAGE = 'docs/storage.md'

/** Where the schema of each object is written down. */
const OBJECTS: Readonly<Record<string, readonly string[]>> = {
  Fleet: ['durable-objects/fleet-schema.ts'],
  SessionShard: ['durable-objects/replay-cache.ts', 'durable-objects/sessions.ts'],
  AuditLog: ['durable-objects/audit-schema.ts', 'durable-objects/used-proofs.ts'],
  KeyRewrap: ['durable-objects/key-rewrap.ts'],
}
/** Creates the table of migrations itself, in every object. */
const MIGRATOR = 'durable-objects/sql.ts'

interface Schema {
  /** Columns by table. */
  readonly tables: Readonly<Record<string, readonly string[]>>
  /** Named indexes and triggers. */
  readonly others: readonly string[]
}

function schemaOf(statements: readonly string[]): Schema {
  using database = new DatabaseSync(':memory:')
  for (const sql of statements) database.exec(sql)
  const names = (type: string) =>
    database
      .prepare(`SELECT name FROM sqlite_schema WHERE type ${type} AND name NOT LIKE 'sqlite_%' ORDER BY name`)
      .all()
      .map(({ name }) => String(name))
  const columns = (table: string) =>
    database
      .prepare('SELECT name FROM pragma_table_info(?)')
      .all(table)
      .map(({ name }) => String(name))
  const tables = names("= 'table'").map((table) => [table, columns(table)])
  return { tables: Object.fromEntries(tables), others: names("IN ('index', 'trigger')") }
}

function migrationsIn(files: readonly string[]): string[] {
  const found = files.flatMap((file) => [
    ...readText(file).matchAll(/id: (\d+),\s*sql:\s*(['`])([\s\S]*?)\2/g),
  ])
  return found.sort(([, a], [, b]) => Number(a) - Number(b)).map(([, , , sql = '']) => sql)
}

function documented(heading: string): Schema['tables'] {
  const text = section(STORAGE, heading)
  const tables = [...text.matchAll(/^### `(\w+)`$/gm)].map(([, name = '']) => name)
  return Object.fromEntries(
    tables.map((table) => [
      table,
      rows(section(STORAGE, `### \`${table}\``)).map(([column]) => code(column)),
    ]),
  )
}

function check(heading: string, { tables, others }: Schema): void {
  expect(documented(heading)).toEqual(tables)
  const text = section(STORAGE, heading)
  expect(others.filter((name) => !text.includes(`\`${name}\``))).toEqual([])
}

test('D1', () => {
  const files = globSync('migrations/*.sql', { cwd: inRoot('') }).sort()
  check('## D1', schemaOf(files.map(readText)))
})

test.each(Object.entries(OBJECTS))('Durable Object %s', (name, files) => {
  check(`## Durable Object ${name}`, schemaOf(migrationsIn(files)))
})

test('no object keeps a table that is not looked for here', () => {
  const writing = globSync('durable-objects/**/*.ts', { cwd: inRoot('') }).filter((file) =>
    /\b(CREATE|ALTER) (TABLE|UNIQUE|INDEX|TRIGGER)/.test(readText(file)),
  )
  expect(writing.sort()).toEqual([...Object.values(OBJECTS).flat(), MIGRATOR].sort())
})

test('socket attachments', () => {
  const [, body = ''] =
    /const Attachment = z\.object\(\{\n([\s\S]*?)\n\}\)/.exec(readText('durable-objects/attachment.ts')) ?? []
  const fields = [...body.matchAll(/^ {2}(\w+):/gm)].map(([, name]) => name)
  const named = rows(section(STORAGE, '## Socket attachments')).map(([name]) => code(name))
  expect(named).toEqual(fields)
})

test('keys in KV', () => {
  const [, prefix = ''] = /`([a-z]+:v\d+:)\$\{/.exec(readText('secrets/frames.ts')) ?? []
  expect(prefix).not.toBe('')
  expect(section(STORAGE, '## KV')).toContain(`\`${prefix}`)
})
