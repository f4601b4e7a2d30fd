-- Versions with a life of their own, rules instead of two lists, and the entry of the audit trail that stands for each ciphertext.

-- Raised by every change; each change is made on the revision it has seen, so that of two that meet one fails whole.
ALTER TABLE secrets ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
ALTER TABLE secrets ADD COLUMN class TEXT NOT NULL DEFAULT 'managed' CHECK (class IN ('managed', 'sealed'));
ALTER TABLE secrets ADD COLUMN policy TEXT NOT NULL DEFAULT '{"rules":[],"expires":null}';
ALTER TABLE secrets ADD COLUMN max_versions INTEGER NOT NULL DEFAULT 10;
ALTER TABLE secrets ADD COLUMN delete_after_ms INTEGER;
ALTER TABLE secrets ADD COLUMN rotate_every_ms INTEGER;
ALTER TABLE secrets ADD COLUMN cas_required INTEGER NOT NULL DEFAULT 0;
ALTER TABLE secrets ADD COLUMN custom TEXT NOT NULL DEFAULT '{}';
UPDATE secrets SET policy = json_object(
  'rules', json_array(json_object(
    'effect', 'allow', 'nodes', json(allow_nodes), 'tags', json(allow_tags),
    'workloads', json_array(), 'roles', json_array(), 'expires', NULL)),
  'expires', NULL)
WHERE allow_nodes <> '[]' OR allow_tags <> '[]';
ALTER TABLE secrets DROP COLUMN allow_tags;
ALTER TABLE secrets DROP COLUMN allow_nodes;

-- A destroyed version keeps its row without its frame: its number must never mean another value.
CREATE TABLE versions (
  name TEXT NOT NULL REFERENCES secrets (name),
  version INTEGER NOT NULL,
  -- Master key the frame is sealed under; null for the sealed class.
  key_version INTEGER,
  frame BLOB,
  -- SHA-256 of the frame, hexadecimal; null for one from before this column.
  sha256 TEXT,
  -- Audit entry that names that hash.
  entry INTEGER,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  readable_until INTEGER,
  deleted_at INTEGER,
  destroyed_at INTEGER,
  -- Nodes it is encrypted to (sealed class), a JSON list of ids.
  recipients TEXT NOT NULL DEFAULT '[]',
  PRIMARY KEY (name, version)
);
INSERT INTO versions (name, version, key_version, frame, created_at)
SELECT name, version, key_version, frame, created_at FROM secret_versions;
DROP TABLE secret_versions;
ALTER TABLE versions RENAME TO secret_versions;
CREATE INDEX secret_versions_by_key ON secret_versions (key_version) WHERE frame IS NOT NULL;

-- What became of a change whose audit entry is open: its own transaction says 'applied', the sweep says 'abandoned'; the first word counts.
CREATE TABLE mutations (
  entry INTEGER PRIMARY KEY,
  outcome TEXT NOT NULL CHECK (outcome IN ('applied', 'abandoned')),
  at INTEGER NOT NULL
);
