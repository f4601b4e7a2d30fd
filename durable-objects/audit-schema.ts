/** Tables of the AuditLog object. */
import { encodeEntry } from '../protocol/audit-entry.ts'
import { AuditTree } from './audit-tree.ts'
import type { Migration, Sql } from './sql.ts'
import { USED_PROOFS_MIGRATIONS } from './used-proofs.ts'

export const AUDIT_MIGRATIONS: readonly Migration[] = [
  {
    id: 1,
    sql: `CREATE TABLE entries (
      seq INTEGER PRIMARY KEY,
      at INTEGER NOT NULL,
      actor TEXT NOT NULL,
      action TEXT NOT NULL,
      target TEXT NOT NULL,
      outcome TEXT NOT NULL,
      reason TEXT NOT NULL,
      request_id TEXT NOT NULL
    )`,
  },
  {
    id: 2,
    sql: `
      ALTER TABLE entries RENAME TO first_entries;
      CREATE TABLE entries (entry INTEGER PRIMARY KEY, bytes BLOB NOT NULL);

      -- Full tiles only: a row is written once. The root stands before the hashes, so that it is read without them.
      CREATE TABLE tiles (
        level INTEGER NOT NULL,
        n INTEGER NOT NULL,
        root BLOB NOT NULL,
        hashes BLOB NOT NULL,
        PRIMARY KEY (level, n)
      ) WITHOUT ROWID;

      -- Entries whose outcome is still open.
      CREATE TABLE intents (entry INTEGER PRIMARY KEY, target TEXT NOT NULL, at INTEGER NOT NULL);

      -- Entries below this index are somebody's archive now; their hashes stay.
      CREATE TABLE archive (one INTEGER PRIMARY KEY CHECK (one = 1), below INTEGER NOT NULL);
    `,
    andThen: moveFirstEntries,
  },
  { id: 3, sql: 'DROP TABLE first_entries' },
  ...USED_PROOFS_MIGRATIONS,
]

interface FirstRow extends Record<string, string | number> {
  seq: number
  at: number
  actor: string
  action: string
  target: string
  outcome: 'allowed' | 'denied'
  reason: string
  request_id: string
}

const MOVED_AT_ONCE = 500

/** The first release numbered its rows from one, without a gap, since nothing could delete one. */
function moveFirstEntries(sql: Sql): void {
  const tree = AuditTree.load(sql)
  for (;;) {
    const rows = sql.all<FirstRow>(
      'SELECT * FROM first_entries WHERE seq > ? ORDER BY seq LIMIT ?',
      tree.size,
      MOVED_AT_ONCE,
    )
    if (rows.length === 0) return
    for (const { request_id: requestId, seq, ...fields } of rows) {
      if (seq !== tree.size + 1) throw new Error(`the audit trail lacks row ${tree.size + 1}`)
      tree.append(encodeEntry({ ...fields, requestId }))
    }
    tree.store()
  }
}
