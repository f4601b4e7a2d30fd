-- Join tokens. Only the hash of a token is kept; `used` can never pass `uses`, whatever the code above does.
CREATE TABLE join_tokens (
  id TEXT PRIMARY KEY,
  hash TEXT NOT NULL,
  tags TEXT NOT NULL,
  uses INTEGER NOT NULL,
  used INTEGER NOT NULL DEFAULT 0 CHECK (used <= uses),
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  revoked_at INTEGER
) WITHOUT ROWID;

-- Who used which token: the same node presenting it again takes no second use.
CREATE TABLE join_redemptions (
  token_id TEXT NOT NULL REFERENCES join_tokens (id),
  node_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (token_id, node_id)
) WITHOUT ROWID;

CREATE TRIGGER join_redemption_takes_a_use AFTER INSERT ON join_redemptions
BEGIN
  UPDATE join_tokens SET used = used + 1 WHERE id = NEW.token_id;
END;

-- A deleted secret keeps its row, so that a later one of the same name goes on counting versions: (name, version) never means two values.
CREATE TABLE secrets (
  name TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  allow_tags TEXT NOT NULL,
  allow_nodes TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER
) WITHOUT ROWID;

-- `frame` is nonce(12) || ciphertext || tag(16); `key_version` names the master key it derives from.
CREATE TABLE secret_versions (
  name TEXT NOT NULL REFERENCES secrets (name),
  version INTEGER NOT NULL,
  key_version INTEGER NOT NULL,
  frame BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (name, version)
);
