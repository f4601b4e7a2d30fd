/** Tables of the Fleet object. */
import type { IdentityKey, NodeId, NodeName, SealingKey, WireGuardKey } from '../protocol/ids.ts'
import type { Migration } from './sql.ts'

export const FLEET_MIGRATIONS: readonly Migration[] = [
  {
    id: 1,
    sql: `
      CREATE TABLE fleet (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, epoch TEXT NOT NULL);

      -- A removed node keeps its row: its identity must stay refused, and its keys must not come back under another.
      CREATE TABLE nodes (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        identity_key TEXT NOT NULL,
        wg_key TEXT NOT NULL UNIQUE,
        sealing_key TEXT NOT NULL UNIQUE,
        ipv4 INTEGER NOT NULL,
        tags TEXT NOT NULL,
        agent TEXT NOT NULL,
        mesh INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL,
        removed_at INTEGER
      ) WITHOUT ROWID;
      CREATE UNIQUE INDEX nodes_by_name ON nodes (name) WHERE removed_at IS NULL;

      CREATE TABLE addresses (ipv4 INTEGER PRIMARY KEY, node_id TEXT NOT NULL, released_at INTEGER);

      -- One row a change: which node, not what it became. A reader gets each node's newest state once, however often it changed.
      CREATE TABLE mesh_log (seq INTEGER PRIMARY KEY, node_id TEXT NOT NULL);
    `,
  },
  {
    id: 2,
    sql: `
      ALTER TABLE nodes ADD COLUMN quarantine TEXT;
      CREATE UNIQUE INDEX nodes_by_identity ON nodes (identity_key);
    `,
  },
  {
    id: 3,
    sql: `
      -- Nodes whose shard has not yet confirmed what became of them: a removal must reach the socket, however often it takes.
      CREATE TABLE unsettled (node_id TEXT PRIMARY KEY) WITHOUT ROWID;

      -- Until when the owner lets the node change its identity key.
      ALTER TABLE nodes ADD COLUMN rotation_until INTEGER;
    `,
  },
  {
    id: 4,
    sql: `
      -- Index of the audit entry that says the node's keys; null until the sweep has written one for a node from before there were any.
      ALTER TABLE nodes ADD COLUMN key_entry INTEGER;
    `,
  },
  {
    id: 5,
    sql: `
      -- Every version of the mesh policy, and the place in the log from which it is in force.
      CREATE TABLE mesh_policies (
        version INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL,
        document TEXT NOT NULL,
        nodes TEXT NOT NULL,
        actor TEXT NOT NULL,
        at INTEGER NOT NULL
      );

      -- Nodes of which the policy says the same: the selectors that hold for them. A number never comes to mean another class.
      CREATE TABLE mesh_classes (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, members TEXT NOT NULL UNIQUE);

      -- The node's class, null before the first policy, and the place in the log from which it has been of that.
      ALTER TABLE nodes ADD COLUMN class INTEGER;
      ALTER TABLE nodes ADD COLUMN class_since INTEGER;
      CREATE INDEX nodes_by_class ON nodes (class) WHERE class IS NOT NULL AND mesh = 1;

      -- The node's class before the change, null if it was not in the map. Of older entries the worst is assumed: that peers must forget it.
      ALTER TABLE mesh_log ADD COLUMN was INTEGER DEFAULT 0;

      -- Nodes whose shard has not yet confirmed that they are of another class.
      CREATE TABLE mesh_moves (node_id TEXT PRIMARY KEY) WITHOUT ROWID;
    `,
  },
  {
    id: 6,
    sql: `
      -- Networks behind the node: what it last offered, and what its owner has approved. What is in both is routed.
      ALTER TABLE nodes ADD COLUMN offers TEXT NOT NULL DEFAULT '[]';
      ALTER TABLE nodes ADD COLUMN approved_routes TEXT NOT NULL DEFAULT '[]';

      -- 1 for an address that was asked for by name: the highest of the others tells where fresh ones begin.
      ALTER TABLE addresses ADD COLUMN named INTEGER NOT NULL DEFAULT 0;
    `,
  },
  {
    id: 7,
    sql: `
      -- The WireGuard key that the node will change to, once it is announced; and until when its owner waits for another one.
      ALTER TABLE nodes ADD COLUMN wg_next TEXT;
      CREATE UNIQUE INDEX nodes_by_wg_next ON nodes (wg_next) WHERE wg_next IS NOT NULL;
      ALTER TABLE nodes ADD COLUMN wg_rotation_until INTEGER;
    `,
  },
  {
    id: 8,
    sql: `
      -- A device without an agent: of the mesh, but no node. It has no identity and no sealing key; what stands there is none.
      ALTER TABLE nodes ADD COLUMN external INTEGER NOT NULL DEFAULT 0;

      -- When it was, so that a node that lags can be said to lag since then.
      ALTER TABLE mesh_log ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
    `,
  },
]

export interface NodeRow extends Record<string, string | number | null> {
  id: NodeId
  name: NodeName
  identity_key: IdentityKey
  wg_key: WireGuardKey
  sealing_key: SealingKey
  ipv4: number
  tags: string
  agent: string
  mesh: number
  created_at: number
  removed_at: number | null
  /** Why it is held; null for a node that is not. */
  quarantine: string | null
  rotation_until: number | null
  /** 1 for a device without an agent. */
  external: number
  key_entry: number | null
  class: number | null
  /** JSON. */
  offers: string
  /** JSON. */
  approved_routes: string
  class_since: number | null
  wg_next: WireGuardKey | null
  wg_rotation_until: number | null
}
