/** `claw audit verify` holds the stored secrets against the trail: through a whole life they agree, and a database changed by hand does not. */
import { globSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { beforeAll, describe, expect, test } from 'vitest'
import { claw, openGateway, type RunningGateway } from '../support/claw.ts'

const home = mkdtempSync(join(tmpdir(), 'claw-'))
const directory = join(home, '.claw')
let gateway: RunningGateway

beforeAll(async () => {
  gateway = await openGateway(directory)
  return async () => {
    await gateway.dispose()
    rmSync(home, { recursive: true })
  }
})

const run = (args: readonly string[], input = '') =>
  claw(args, { env: { ...gateway.env, CLAW_HOME: join(home, 'own') }, input })

async function done(args: readonly string[], input?: string): Promise<void> {
  const { code, stderr } = await run(args, input)
  if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
}

/** By somebody with the disk, while the gateway is down. */
async function tamper(sql: string): Promise<number> {
  await gateway.end('SIGTERM')
  const files = globSync(`${directory}/state/d1/**/*.sqlite`)
  const changes = files.map((file) => {
    using database = new DatabaseSync(file)
    const has = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'secret_versions'").get()
    return has === undefined ? 0 : Number(database.prepare(sql).run().changes)
  })
  gateway = await openGateway(directory)
  return changes.reduce((sum, count) => sum + count, 0)
}

test('through a whole life the stores and the trail agree', async () => {
  for (const value of ['1', '2', '3']) await done(['secret', 'set', 'life/versions'], value)
  await done(['secret', 'meta', 'life/versions', '--max-versions', '2'])
  await done(['secret', 'set', 'life/versions'], '4')
  for (const name of ['deleted', 'back', 'destroyed', 'purged', 'again']) {
    await done(['secret', 'set', `life/${name}`], 'a')
    await done(['secret', 'set', `life/${name}`], 'b')
  }
  await done(['secret', 'rm', 'life/deleted'])
  await done(['secret', 'rm', 'life/back'])
  await done(['secret', 'undelete', 'life/back', '--version', '2'])
  await done(['secret', 'destroy', 'life/destroyed', '--version', '1', '--yes'])
  await done(['secret', 'purge', 'life/purged', '--yes'])
  await done(['secret', 'purge', 'life/again', '--yes'])
  await done(['secret', 'set', 'life/again'], 'c')
  await done(['secret', 'set', 'life/sealed', '--sealed', '--yes'], 'x')
  expect((await run(['secret', 'set', 'life/versions', '--cas', '1'], 'late')).code).toBe(6)
  await done(['key', 'rotate', '--dir', directory])
  await done(['secret', 'set', 'life/sealed'], 'y')
  const verified = await run(['audit', 'verify'])
  expect([verified.code, verified.stderr, verified.stdout]).toEqual([
    0,
    '',
    expect.stringContaining('secret versions agree'),
  ])
})

test('they agree while others write, delete and destroy', async () => {
  let verifying = true
  const busy = async (name: string) => {
    for (let round = 0; verifying; round++) {
      await done(['secret', 'set', name], String(round))
      await done(['secret', round % 2 === 0 ? 'rm' : 'purge', name, ...(round % 2 === 0 ? [] : ['--yes'])])
    }
  }
  const writers = Promise.all([busy('busy/one'), busy('busy/two')])
  for (let round = 0; round < 3; round++) {
    const verified = await run(['audit', 'verify'])
    expect([verified.code, verified.stderr]).toEqual([0, ''])
  }
  verifying = false
  await writers
})

describe('somebody with the disk', () => {
  // What the next one would be told of as well is mended by the second statement.
  test.each([
    [
      'exchanges a ciphertext',
      "UPDATE secret_versions SET sha256 = replace(sha256, substr(sha256, 1, 1), 'x') WHERE name = 'life/back' AND version = 2",
      /secret life\/back, version 2: has another ciphertext/,
      undefined,
    ],
    [
      'makes a version of their own',
      "INSERT INTO secret_versions SELECT name, 9, key_version, frame, sha256, entry, created_at, expires_at, readable_until, deleted_at, destroyed_at, recipients FROM secret_versions WHERE name = 'life/versions' AND version = 4",
      /secret life\/versions, version 9: has no entry/,
      "DELETE FROM secret_versions WHERE name = 'life/versions' AND version = 9",
    ],
    [
      'brings back what was deleted',
      "UPDATE secret_versions SET deleted_at = NULL WHERE name = 'life/deleted' AND version = 2",
      /secret life\/deleted, version 2: was deleted, and can be read again/,
      "UPDATE secret_versions SET deleted_at = 1 WHERE name = 'life/deleted' AND version = 2",
    ],
    [
      'takes one away',
      "DELETE FROM secret_versions WHERE name = 'life/versions' AND version = 3",
      /secret life\/versions, version 3: was written, and is not there/,
      undefined,
    ],
  ])('who %s is found', async (_what, sql, told, mended) => {
    expect(await tamper(sql)).toBeGreaterThan(0)
    const verified = await run(['audit', 'verify'])
    expect(verified.code).toBe(1)
    expect(verified.stderr).toMatch(told)
    expect(verified.stderr).toContain('E_AUDIT_STORES')
    if (mended !== undefined) await tamper(mended)
  })
})
