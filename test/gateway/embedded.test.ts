/** The door of the embedded gateway that only `claw up` opens. */
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, it } from 'vitest'
import embedded from '../../worker/embedded.ts'
import { applyMigrations } from '../../worker/embedded-migrations.ts'
import { migrate } from './support.ts'

const KEEPER_KEY = 'the-key-of-this-run'

async function ask(
  path: string,
  key: string | undefined,
  { ours = KEEPER_KEY }: { readonly ours?: string } = {},
): Promise<number> {
  const context = createExecutionContext()
  const request = new Request<unknown, IncomingRequestCfProperties>(`http://localhost${path}`, {
    method: 'POST',
    headers: key === undefined ? {} : { 'claw-keeper': key },
  })
  const kept = { KEEPER_KEY: ours, MIGRATIONS: JSON.stringify([FIRST]) }
  const { status } = await embedded.fetch(request, { ...env, ...kept }, context)
  await waitOnExecutionContext(context)
  return status
}

const tables = async () =>
  (
    await env.DB.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all<{ name: string }>()
  ).results.map(({ name }) => name)

const FIRST = { name: '0001_a.sql', statements: ['CREATE TABLE a (x)', 'CREATE TABLE b (x)'] }

it.each([undefined, '', 'the-key-of-this-ruN', 'the-key-of-this-run ends otherwise'])(
  'nobody without the key does anything there (%j)',
  async (key) => {
    expect(await ask('/sweep', key)).toBe(404)
    expect(await ask('/migrate', key)).toBe(404)
    expect(await tables()).not.toContain('a')
  },
)

it.each([undefined, ''])('nor does anybody where there is none (%j)', async (key) => {
  expect(await ask('/migrate', key, { ours: '' })).toBe(404)
  expect(await tables()).not.toContain('a')
})

it('sweeps', async () => {
  await migrate()
  expect(await ask('/sweep', KEEPER_KEY)).toBe(204)
  expect(await ask('/healthz', KEEPER_KEY)).toBe(404)
})

it('migrates what has not been, each file whole or not at all', async () => {
  expect(await ask('/migrate', KEEPER_KEY)).toBe(204)
  // It would fail if it were applied again.
  expect(await ask('/migrate', KEEPER_KEY)).toBe(204)
  const second = { name: '0002_c.sql', statements: ['CREATE TABLE c (x)', 'CREATE TABLE a (x)'] }
  await expect(applyMigrations(env.DB, [FIRST, second])).rejects.toThrow('already exists')
  expect(await tables()).not.toContain('c')
  await applyMigrations(env.DB, [FIRST, { name: '0002_c.sql', statements: ['CREATE TABLE c (x)'] }])
  expect(await tables()).toEqual(expect.arrayContaining(['a', 'b', 'c']))
})
