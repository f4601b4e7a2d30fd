import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { readD1Migrations } from '@cloudflare/vitest-plugin'
import { expect, test } from 'vitest'
import { splitStatements } from '../../scripts/migrations.ts'

const DIRECTORY = join(import.meta.dirname, '../../migrations')
const files = readdirSync(DIRECTORY).filter((name) => name.endsWith('.sql'))

test('the migrations are cut into the statements that wrangler sees', async () => {
  const plain = (sql: string) =>
    sql
      .replace(/--.*$/gm, '')
      .replace(/\s+/g, ' ')
      .replace(/;?\s*$/, '')
      .trim()
  const wrangler = await readD1Migrations(DIRECTORY)
  for (const { name, queries } of wrangler) {
    const mine = splitStatements(readFileSync(join(DIRECTORY, name), 'utf8'))
    expect(mine.map(plain)).toEqual(queries.map(plain).filter((query) => query !== ''))
  }
  expect(wrangler.map(({ name }) => name)).toEqual(files.sort())
})

test('one by one they make the schema that the whole file makes', () => {
  const [whole, parts] = [new DatabaseSync(':memory:'), new DatabaseSync(':memory:')]
  for (const name of files.sort()) {
    const sql = readFileSync(join(DIRECTORY, name), 'utf8')
    whole.exec(sql)
    for (const statement of splitStatements(sql)) parts.prepare(statement).run()
  }
  const schema = (db: DatabaseSync) => db.prepare('SELECT name, type FROM sqlite_master ORDER BY name').all()
  expect(schema(parts)).toEqual(schema(whole))
})

test('a trigger is one statement', () => {
  const trigger =
    'CREATE TRIGGER t AFTER INSERT ON a\nBEGIN\n  UPDATE a SET x = 1;\n  UPDATE a SET y = 2;\nEND;'
  expect(splitStatements(`-- why\n${trigger}\n\nCREATE TABLE b (x);`)).toEqual([
    trigger,
    'CREATE TABLE b (x);',
  ])
  expect(() => splitStatements('CREATE TABLE a (x)')).toThrow()
})
