/** The audit object: what it appends stays, in one order and under one root, whatever ends it. */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { fromBase64, toBase64 } from '../../crypto/bytes.ts'
import { verifyConsistency, verifyInclusion } from '../../crypto/merkle-proof.ts'
import type { AuditLog } from '../../durable-objects/audit-log.ts'
import type { AuditEvent } from '../../protocol/audit.ts'
import { decodeEntry, itemOf } from '../../protocol/audit-entry.ts'
import { AUDIT_REMOVE_BATCH, MAX_AUDIT_ENTRY_BYTES } from '../../protocol/limits.ts'
import { allEntries, event, events, headOf, type Log, logNamed, treeOver } from './audit-support.ts'
import { migrate } from './support.ts'

beforeAll(migrate)

const rowsWritten = async (log: Log): Promise<number> => (await log.counters()).counters.rows_written
const exec = (log: Log, ...statements: string[]): Promise<void> =>
  runInDurableObject(log, (_, state) => {
    for (const sql of statements) state.storage.sql.exec(sql)
  })
const hashes = (proof: readonly string[]): Uint8Array[] => proof.map((hash) => fromBase64(hash) as Uint8Array)

/** Thrown inside, where it is caught: over RPC each would also count as an error that nobody has caught. */
const failureOf = (log: Log, batch: readonly AuditEvent[]): Promise<string> =>
  runInDurableObject<AuditLog, string>(log, async (object) => {
    try {
      return `went on at ${(await object.append(batch)).first}`
    } catch (error) {
      return String(error)
    }
  })

async function expectRoot(log: Log, size: number): Promise<void> {
  const head = await headOf(log)
  expect(head.size).toBe(size)
  expect(toBase64(head.root)).toBe(toBase64(treeOver(await allEntries(log, size)).root(0, size)))
}

describe('appending', () => {
  it('numbers from zero, in order, and keeps what was said to the byte', async () => {
    const log = logNamed('bytes')
    const said = event('ä "quoted" \u0007', { detail: { zeta: 1, alpha: 'x', Beta: 2.5 }, outcome: 'denied' })
    expect((await log.append([event(0), said])).first).toBe(0)
    expect((await log.append([event(2)])).first).toBe(2)
    const [, entry] = await allEntries(log, 3)
    const text = new TextDecoder().decode(entry)
    expect(text).toMatch(
      /^\{"v":1,"at":\d{13},"actor":"tester","action":"test\.done","target":"test:ä \\"quoted\\" \\u0007","outcome":"denied","reason":"","request":"[^"]*(?:\\"[^"]*)*","detail":\{"Beta":2\.5,"alpha":"x","zeta":1\}\}$/,
    )
    expect(decodeEntry(entry as Uint8Array)).toMatchObject(said)
    expect(await log.entry(1)).toEqual({ ok: true, value: entry })
    expect(await log.entry(3)).toMatchObject({ error: { code: 'E_AUDIT_NOT_FOUND' } })
  })

  it('refuses an entry that is too large, or has a detail it could not sort, and everything with it', async () => {
    const log = logNamed('large')
    const fits = MAX_AUDIT_ENTRY_BYTES - 200
    await log.append([event(0, { reason: 'x'.repeat(fits) })])
    for (const bad of [
      event(1, { reason: 'x'.repeat(MAX_AUDIT_ENTRY_BYTES) }),
      event(1, { detail: { __proto__x: 'x', '1': 2 } }),
      event(1, { detail: { number: Number.NaN } }),
    ])
      expect(await failureOf(log, [event(1), bad, event(2)])).toContain('RangeError')
    expect((await log.append([event(1)])).first).toBe(1)
    await expectRoot(log, 2)
  })

  it('gives every one of many that come at once its own index, and costs a row each and one for each full tile', async () => {
    const log = logNamed('crowd')
    await log.append([])
    const before = await rowsWritten(log)
    const firsts = await Promise.all(
      Array.from({ length: 700 }, async (_, number) => (await log.append([event(number)])).first),
    )
    expect(new Set(firsts).size).toBe(700)
    expect(Math.max(...firsts)).toBe(699)
    expect((await rowsWritten(log)) - before).toBe(700 + 2)
    await expectRoot(log, 700)
  })

  it('writes what comes together together: one that cannot be written takes only itself along', async () => {
    const log = logNamed('together')
    const { outcomes, commits } = await runInDurableObject<AuditLog, { outcomes: string[]; commits: number }>(
      log,
      async (object, state) => {
        const transaction = vi.spyOn(state.storage, 'transactionSync')
        const batches = [
          events(0, 3),
          ...events(3, 97).map((one) => [one]),
          [event(100, { reason: 'x'.repeat(70_000) })],
        ]
        const settled = await Promise.allSettled(batches.map((batch) => object.append(batch)))
        return {
          outcomes: settled.map((one) =>
            one.status === 'fulfilled' ? String(one.value.first) : String(one.reason),
          ),
          commits: transaction.mock.calls.length,
        }
      },
    )
    expect(outcomes.slice(0, -1)).toEqual([
      '0',
      ...Array.from({ length: 97 }, (_, index) => String(index + 3)),
    ])
    expect(outcomes.at(-1)).toContain('RangeError')
    expect(commits).toBe(1)
    await expectRoot(log, 100)
  })

  it('leaves nothing of a transaction that fails, wherever it fails', async () => {
    const log = logNamed('failing')
    await log.append(events(0, 250))
    await exec(
      log,
      "CREATE TRIGGER no_tile BEFORE INSERT ON tiles BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
    )
    expect(await failureOf(log, events(250, 10))).toContain('the disk is full')
    expect(await log.begin(event(250))).toEqual({ entry: 250, stamp: null })
    expect(await failureOf(log, events(251, 10))).toContain('the disk is full')
    await expectRoot(log, 251)
    await exec(log, 'DROP TRIGGER no_tile')
    expect((await log.append(events(251, 10))).first).toBe(251)
    await expectRoot(log, 261)
    await evictDurableObject(log)
    await expectRoot(log, 261)
  })
})

describe('the tree', () => {
  it('has the same root after a restart at any size', async () => {
    const log = logNamed('restarts')
    for (let size = 0; size <= 520; ) {
      const before = await log.checkpoint()
      await evictDurableObject(log)
      expect(await log.checkpoint()).toBe(before)
      const step = size < 260 || size > 505 ? 1 : 7
      await log.append(events(size, step))
      size += step
    }
    const { size } = await headOf(log)
    await expectRoot(log, size)
  })

  it('goes on beyond the first tile of the second level', async () => {
    const log = logNamed('levels')
    const size = 256 * 256 + 300
    for (let from = 0; from < size; from += 4096) await log.append(events(from, Math.min(4096, size - from)))
    const before = await log.checkpoint()
    await evictDurableObject(log)
    expect(await log.checkpoint()).toBe(before)
    const tree = treeOver(await allEntries(log, size))
    expect(toBase64((await headOf(log)).root)).toBe(toBase64(tree.root(0, size)))
    for (const [level, n, width, span] of [
      [0, 0, 256, 1],
      [0, 257, 44, 1],
      [0, 257, 3, 1],
      [1, 0, 256, 256],
      [1, 1, 1, 256],
      [2, 0, 1, 65_536],
    ] as const) {
      const tile = await log.tile({ level, n, width })
      const expected = Array.from({ length: width }, (_, i) =>
        tree.root((n * 256 + i) * span, (n * 256 + i + 1) * span),
      )
      expect(tile.ok && toBase64(tile.value)).toBe(
        toBase64(Uint8Array.from(expected.flatMap((hash) => [...hash]))),
      )
    }
    for (const tile of [
      { level: 0, n: 257, width: 45 },
      { level: 0, n: 258, width: 1 },
      { level: 1, n: 1, width: 2 },
      { level: 2, n: 0, width: 2 },
      { level: 3, n: 0, width: 1 },
    ])
      expect(await log.tile(tile)).toMatchObject({ error: { code: 'E_AUDIT_NOT_FOUND' } })
    await log.append([event('one more')])
    const consistency = await log.consistency(size, size + 1)
    if (!consistency.ok) throw new Error(consistency.error.code)
    expect(verifyConsistency(tree.head(size), await headOf(log), hashes(consistency.value))).toBe(true)
  })

  it('proves every entry, and every earlier size, of the sizes it has had', async () => {
    const log = logNamed('proofs')
    await log.append(events(0, 777))
    const tree = treeOver(await allEntries(log, 777))
    for (const [index, size] of [
      [0, 1],
      [0, 777],
      [255, 256],
      [256, 777],
      [511, 600],
      [776, 777],
    ] as const) {
      const inclusion = await log.inclusion(index, size)
      if (!inclusion.ok) throw new Error(inclusion.error.code)
      expect(
        verifyInclusion(tree.root(index, index + 1), index, tree.head(size), hashes(inclusion.value)),
      ).toBe(true)
      const consistency = await log.consistency(index, size)
      if (!consistency.ok) throw new Error(consistency.error.code)
      expect(verifyConsistency(tree.head(index), tree.head(size), hashes(consistency.value))).toBe(true)
    }
    for (const refused of [
      await log.inclusion(777, 777),
      await log.inclusion(0, 778),
      await log.inclusion(5, 5),
      await log.consistency(3, 2),
      await log.consistency(0, 778),
    ])
      expect(refused).toMatchObject({ ok: false, error: { code: 'E_AUDIT_NOT_FOUND' } })
  })

  it('takes over the rows of the first release, in their order', async () => {
    const log = logNamed('first-release')
    await log.append([])
    const old = Array.from({ length: 600 }, (_, index) => ({
      at: 1_700_000_000_000 + index,
      outcome: index % 3 === 0 ? 'denied' : 'allowed',
    }))
    await exec(
      log,
      'DROP TABLE entries',
      'DROP TABLE tiles',
      'DROP TABLE intents',
      'DROP TABLE archive',
      'DROP TABLE used_proofs',
      'DELETE FROM schema_migrations WHERE id > 1',
      `CREATE TABLE entries (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
       target TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, request_id TEXT NOT NULL)`,
      ...old.map(
        ({ at, outcome }, index) =>
          `INSERT INTO entries (at, actor, action, target, outcome, reason, request_id)
           VALUES (${at}, 'node:n${index}', 'secret.read', 'secret:a', '${outcome}', 'it''s "so"', 'req_${index}')`,
      ),
    )
    await evictDurableObject(log)
    const entries = (await allEntries(log, 600)).map((bytes, index) =>
      itemOf(index, decodeEntry(bytes) as never),
    )
    expect(entries).toEqual(
      old.map(({ at, outcome }, index) => ({
        seq: index,
        at: new Date(at).toISOString(),
        actor: `node:n${index}`,
        action: 'secret.read',
        target: 'secret:a',
        outcome,
        reason: 'it\'s "so"',
        requestId: `req_${index}`,
      })),
    )
    expect((await log.append([event(600)])).first).toBe(600)
    await expectRoot(log, 601)
    await evictDurableObject(log)
    await expectRoot(log, 601)
  })
})

describe('what is begun', () => {
  it('stays open until it is settled, once, and over a restart', async () => {
    const log = logNamed('intents')
    const { entry } = await log.begin(event(0))
    const { entry: second } = await log.begin(event(1))
    await evictDurableObject(log)
    expect(await log.openIntents(Date.now())).toMatchObject([
      { entry, target: 'test:0', event: event(0) },
      { entry: second, target: 'test:1', event: event(1) },
    ])
    expect(await log.openIntents(0)).toEqual([])
    await log.settle(entry)
    await log.settle(second, event(1, { outcome: 'failed', detail: { of: second } }))
    await log.settle(second, event(1, { outcome: 'failed', detail: { of: second } }))
    expect(await log.openIntents(Date.now())).toEqual([])
    expect((await headOf(log)).size).toBe(3)
  })

  it('changes the stamp of its target when it begins and when it ends, and no other', async () => {
    const log = logNamed('stamps')
    const stamps = async () => (await log.append([event('a'), event('b')])).stamps
    const [a, b] = await stamps()
    expect(await stamps()).toEqual([a, b])
    const { entry } = await log.begin(event('a'))
    const { entry: again } = await log.begin(event('a'))
    expect(await stamps()).toEqual([null, b])
    await log.settle(entry)
    expect(await stamps()).toEqual([null, b])
    await log.settle(again)
    const [after] = await stamps()
    expect(after).toEqual(expect.any(String))
    expect(after).not.toBe(a)
    await evictDurableObject(log)
    const anew = await stamps()
    expect(anew).not.toContain(after)
    expect(anew).not.toContain(b)
  })
})

describe('an archive', () => {
  const archived = (reason: string) => event('archive', { action: 'audit.archive', reason })

  it('takes the entries of full bundles, in parts, and leaves every hash', async () => {
    const log = logNamed('archive')
    const size = AUDIT_REMOVE_BATCH + 1000
    for (let from = 0; from < size; from += 1000) await log.append(events(from, 1000))
    const copy = await allEntries(log, size)
    const { root } = treeOver(copy).head(size)
    const below = size - (size % 256)
    expect(await log.archive({ size, root: toBase64(root) }, archived('moved'))).toEqual({
      ok: true,
      value: below,
    })
    for (const read of [log.entry(0), log.entry(below - 1), log.bundle({ n: 0, width: 256 })])
      expect(await read).toMatchObject({ error: { code: 'E_AUDIT_ARCHIVED' } })
    let alarms = 0
    while (await runDurableObjectAlarm(log)) alarms++
    expect(alarms).toBe(2)
    const left = await runInDurableObject(log, (_, state) => [
      ...state.storage.sql.exec<{ entry: number }>('SELECT MIN(entry) AS entry FROM entries'),
    ])
    expect(left).toEqual([{ entry: below }])

    await evictDurableObject(log)
    const head = await headOf(log)
    expect(head.size).toBe(size + 1)
    const consistency = await log.consistency(size, size + 1)
    if (!consistency.ok) throw new Error(consistency.error.code)
    expect(verifyConsistency({ size, root }, head, hashes(consistency.value))).toBe(true)
    const inclusion = await log.inclusion(7, size + 1)
    if (!inclusion.ok) throw new Error(inclusion.error.code)
    const leaf = treeOver(copy).root(7, 8)
    expect(verifyInclusion(leaf, 7, head, hashes(inclusion.value))).toBe(true)
    const { items } = await log.list({ order: 'oldest', limit: 1 })
    expect(items).toMatchObject([{ seq: below }])
    const { items: newest } = await log.list({ limit: 1 })
    expect(newest).toMatchObject([
      { action: 'audit.archive', detail: { size, root: toBase64(root), below }, reason: 'moved' },
    ])
  })

  it('is refused to whoever has another log, and says so before anything goes', async () => {
    const log = logNamed('archive-refused')
    await log.append(events(0, 600))
    const tree = treeOver(await allEntries(log, 600))
    for (const body of [
      { size: 600, root: toBase64(tree.root(0, 599)) },
      { size: 601, root: toBase64(tree.root(0, 600)) },
      { size: 600, root: 'not a root' },
    ])
      expect(await log.archive(body, archived(''))).toMatchObject({ error: { code: 'E_AUDIT_CHECKPOINT' } })
    expect((await headOf(log)).size).toBe(600)
    expect(await log.entry(0)).toMatchObject({ ok: true })
  })

  it('leaves what is still open, and what a later one took stays taken', async () => {
    const log = logNamed('archive-open')
    await log.append(events(0, 300))
    const { entry } = await log.begin(event('open'))
    await log.append(events(301, 700))
    const at = async (size: number) => ({
      size,
      root: toBase64(treeOver(await allEntries(log, 1001)).root(0, size)),
    })
    const [early, late] = [await at(100), await at(1001)]
    expect(await log.archive(late, archived(''))).toEqual({ ok: true, value: 256 })
    expect(await log.archive(early, archived(''))).toEqual({ ok: true, value: 256 })
    await log.settle(entry)
    expect(await log.archive(late, archived(''))).toEqual({ ok: true, value: 768 })
  })
})
