-- Credentials that are refused although they would match: those that crossed the network in clear. Hashes only.
CREATE TABLE revoked_credentials (
  hash TEXT PRIMARY KEY,
  revoked_at INTEGER NOT NULL
) WITHOUT ROWID;
