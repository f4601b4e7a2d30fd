import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, expect, it } from 'vitest'
import { d1OnSqlite } from './secret-model/d1-on-sqlite.ts'
import { worldOnSqlite } from './secret-model/world.ts'
import { migrate } from './support.ts'

type Ask = (db: D1Database) => Promise<unknown>

const insertSecret = 'INSERT INTO secrets (name, version, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)'
const insertVersion =
  'INSERT INTO secret_versions (name, version, key_version, frame, created_at) VALUES (?, ?, ?, ?, 1)'
const insertMutation = 'INSERT INTO mutations (entry, outcome, at) VALUES (?, ?, 1)'
const count =
  'SELECT (SELECT COUNT(*) FROM secrets) AS secrets, (SELECT COUNT(*) FROM mutations) AS mutations'

/** Each is asked of both, in this order. */
const QUESTIONS: Readonly<Record<string, Ask>> = {
  'a row that is not there': (db) => db.prepare('SELECT * FROM secrets WHERE name = ?').bind('a').first(),
  'rows that are not there': async (db) => (await db.prepare('SELECT * FROM secrets').all()).results,
  'a write': async (db) => (await db.prepare(insertSecret).bind('a', 1, 1_790_000_000_000).run()).success,
  'every column': (db) => db.prepare('SELECT * FROM secrets').first(),
  bytes: async (db) => {
    await db
      .prepare(insertVersion)
      .bind('a', 1, null, new Uint8Array([0, 1, 255]).subarray(1))
      .run()
    return db.prepare('SELECT frame, LENGTH(frame) AS length, key_version FROM secret_versions').first()
  },
  'a list in one parameter': async (db) => {
    const query = "SELECT key, value ->> 'name' AS name FROM json_each(?) ORDER BY key"
    return (await db.prepare(query).bind('[{"name":"x"},{"name":"y"}]').all()).results
  },
  'what a batch answers': async (db) => {
    const answers = await db.batch([
      db.prepare(insertMutation).bind(1, 'applied'),
      db.prepare('SELECT outcome FROM mutations WHERE entry = ?').bind(1),
    ])
    return answers.map(({ results }) => results)
  },
  'a primary key that is taken': (db) => db.prepare(insertMutation).bind(1, 'abandoned').run(),
  'a primary key of two columns': (db) => db.prepare(insertVersion).bind('a', 1, 1, new Uint8Array(1)).run(),
  'a NULL that must not be': (db) =>
    db
      .prepare('UPDATE secrets SET revision = CASE WHEN revision = ?2 THEN 9 END WHERE name = ?1')
      .bind('a', 7)
      .run(),
  'a value that is not allowed': (db) => db.prepare(insertMutation).bind(2, 'perhaps').run(),
  'a parent that is not there': (db) => db.prepare(insertVersion).bind('none', 1, 1, new Uint8Array(1)).run(),
  'a table that is not there': (db) => db.prepare('SELECT * FROM nothing').all(),
  'a batch whose last statement fails': (db) =>
    db.batch([
      db.prepare(insertMutation).bind(3, 'applied'),
      db.prepare(insertSecret).bind('b', 1, 1),
      db.prepare(insertMutation).bind(1, 'applied'),
    ]),
  'what is left of it': (db) => db.prepare(count).first(),
}

beforeAll(migrate)

it('answers and fails as D1 does', async () => {
  const ofD1 = await answersOf(env.DB)
  await runInDurableObject(env.AUDIT_LOG.getByName('answers'), async (_, state) => {
    worldOnSqlite(state)
    expect(await answersOf(d1OnSqlite(state.storage))).toEqual(ofD1)
  })
  expect(ofD1['a NULL that must not be']).toContain('constraint failed')
  expect(ofD1['what is left of it']).toEqual({ secrets: 1, mutations: 1 })
})

it('refuses a value that is undefined, as D1 does', async () => {
  const ask: Ask = async (db) => db.prepare('SELECT ?').bind(undefined).first()
  await expect(ask(env.DB)).rejects.toThrow("Type 'undefined' not supported")
  await runInDurableObject(env.AUDIT_LOG.getByName('undefined'), (_, state) =>
    expect(ask(d1OnSqlite(state.storage))).rejects.toThrow("Type 'undefined' not supported"),
  )
})

async function answersOf(db: D1Database): Promise<Record<string, unknown>> {
  const answers: Record<string, unknown> = {}
  for (const [name, ask] of Object.entries(QUESTIONS))
    answers[name] = await ask(db).catch((error: Error) => error.message)
  return answers
}
