/** Ways in which data and trail of the secrets could part, and readers be told what is no longer so. The model must notice each. */
import { type Edit, type Mutation, mutate } from './mutation.ts'

const model = (name: string, edit: Edit, title: string): Mutation =>
  mutate(`secrets: ${name}`, edit, ['gateway', 'gateway/secret-crashes.test.ts', title])

const CHANGE = 'secrets/change.ts'
const STAMPS = 'durable-objects/change-stamps.ts'

export const CHANGES_OF_SECRETS: readonly Mutation[] = [
  model(
    'both of two changes that meet happen',
    [CHANGE, '[raiseRevision(db, current)]', '[]'],
    'a refusal is true of one moment',
  ),
  model(
    'a change leaves no word of its own',
    [CHANGE, '[applied, ...revised,', '[...revised,'],
    'rotation with overlap',
  ),
  model(
    'a change that was given up comes late and happens',
    [CHANGE, "VALUES (?, 'abandoned', ?) ON CONFLICT", "SELECT ?, 'abandoned', ? WHERE 0 ON CONFLICT"],
    'rotation with overlap',
  ),
  model(
    'every lost change is called undone',
    [CHANGE, "decided?.results[0]?.outcome === 'applied'", "decided?.results[0]?.outcome === 'never'"],
    'rotation with overlap',
  ),
  model(
    'a connection that was lost counts as another change',
    [CHANGE, 'if (!isOvertaken(error)) throw error', ''],
    'rotation with overlap',
  ),
  model(
    'a change that came second is not called undone',
    [
      CHANGE,
      "await trail.settle(entry, failed(event, entry, 'another change came first'))",
      'await trail.settle(entry)',
    ],
    'a refusal is true of one moment',
  ),
  model(
    'what became of changes is kept for ever',
    [CHANGE, '.bind(now() - FENCE_MS, ', '.bind(now() - FENCE_MS * 99, '],
    'rotation with overlap',
  ),
  model(
    'a change that happened is told as failed',
    [
      CHANGE,
      "    console.error({ event: 'settle_failed', requestId: event.requestId, entry, error: String(error) })",
      '    throw error',
    ],
    'rotation with overlap',
  ),
  model(
    'a refusal mixes two states',
    [CHANGE, 'if ((await secretRow(stores.db, name))?.revision !== current?.revision) continue', ''],
    'a refusal is true of one moment',
  ),
  model(
    'a change that was overtaken too often leaves no entry',
    [CHANGE, ', busy)\n', ', busy).catch(() => undefined)\n'],
    'overtaken again and again',
  ),
  model(
    'an entry is called failed after it was settled',
    [
      'durable-objects/audit-log.ts',
      'if (open !== undefined && outcome !== undefined)',
      'if (outcome !== undefined)',
    ],
    'work that meets',
  ),
  model(
    'readers believe what they know while a change is open',
    [STAMPS, 'return this.#open.has(target) ? null :', 'return'],
    'never see again',
  ),
  model(
    'a change that begins is not noticed',
    [STAMPS, '    this.#open.set(target, (this.#open.get(target) ?? 0) + 1)\n    this.#count(target)\n', ''],
    'rotation with overlap',
  ),
  model(
    'of two open changes the first to end ends both',
    [STAMPS, '(this.#open.get(target) ?? 0) + 1)', '1)'],
    'two are open at once',
  ),
  model(
    'a trail that restarts counts on where it never was',
    [STAMPS, '  #boot = randomId()\n  readonly', "  #boot = ''\n  readonly"],
    'begins anew',
  ),
  model(
    'a trail that restarts forgets what is open',
    ['durable-objects/audit-log.ts', '      this.#stamps.opened(target)\n', '      void target\n'],
    'restarts meanwhile',
  ),
  model(
    'what was read before a change is kept as of after it',
    ['secrets/known.ts', 'before === after ? found : undefined', 'found'],
    'two that meet',
  ),
  model(
    'versions that a write drops are not in its entry',
    ['secrets/write.ts', 'dropped.length > 0 &&', 'dropped.length > 99 &&'],
    'settings that drop versions',
  ),
  model(
    'a destroyed version keeps its frame',
    ['secrets/lifecycle.ts', 'frame = NULL, ', ''],
    'rotation with overlap',
  ),
  model(
    'a version that ended meanwhile fails the rotation of the key',
    [
      'secrets/write.ts',
      'moved.ok || (await outdated(stores, name, number)) !== undefined ? moved : ok(undefined)',
      'moved',
    ],
    'fails no rotation',
  ),
  model(
    'the bytes of a large value are taken for those of its row',
    [
      'secrets/frames.ts',
      'keyVersion: row.key_version, sha256: row.sha256 }',
      'keyVersion: version.keyVersion, sha256: version.sha256 }',
    ],
    'put under another key',
  ),
  model(
    'a read fails with the cache',
    ['secrets/frames.ts', '.catch(() => null)', ''],
    'a read does not fail with the cache',
  ),
  model(
    'the cache is believed',
    [
      'secrets/frames.ts',
      'if (cached !== null && isGenuine(new Uint8Array(cached), hash))',
      'if (cached !== null)',
    ],
    'nor believe it',
  ),
]
