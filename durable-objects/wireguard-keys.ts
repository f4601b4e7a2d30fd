/**
 * The WireGuard keys of nodes that change them: first announced, so that every peer can know the next key, then in force. Which of the two it is
 * the node says, because only the node knows when its interface has changed.
 */
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { WireguardKeyReply } from '../protocol/http.ts'
import type { IdentityKey, NodeId, WireGuardKey } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { NodeRow } from './fleet-schema.ts'
import type { Sql } from './sql.ts'

/** An offline node may take a day to hear that it is asked. */
const ASKED_MS = 24 * 60 * 60_000

/** The key is in force from now on, as the audit entry with this index says. */
export interface WireguardUse {
  readonly key: WireGuardKey
  readonly entry: number
  /** That the same entry says. */
  readonly identity: IdentityKey
}

export class WireguardKeys {
  readonly #sql: Sql

  constructor(sql: Sql) {
    this.#sql = sql
  }

  /** The owner waits for another key. */
  ask(id: NodeId, now: number): void {
    this.#sql.run('UPDATE nodes SET wg_rotation_until = ? WHERE id = ?', now + ASKED_MS, id)
  }

  /** An announcement replaces an earlier one: a node that has lost its next key makes another. Call inside a transaction. */
  announce(id: NodeId, key: WireGuardKey): Result<WireguardKeyReply, Refusal> {
    const row = this.#member(id)
    if (row === undefined) return err(refusal('E_NODE_NOT_FOUND'))
    // A key that another node has, had at its removal, or will have: its peers would not know whom they talk to.
    const holder = this.#sql.first<{ id: NodeId }>(
      'SELECT id FROM nodes WHERE wg_key = ? OR (wg_next = ? AND id != ?)',
      key,
      key,
      id,
    )
    if (holder !== undefined) return err(refusal('E_KEY_IN_USE'))
    if (row.wg_next !== key) this.#sql.run('UPDATE nodes SET wg_next = ? WHERE id = ?', key, id)
    return ok({ wireguard: row.wg_key, next: key })
  }

  /** Call inside a transaction. */
  use(id: NodeId, { key, entry, identity }: WireguardUse): Result<WireguardKeyReply, Refusal> {
    const row = this.#member(id)
    if (row === undefined) return err(refusal('E_NODE_NOT_FOUND'))
    if (row.wg_key === key) return ok({ wireguard: key, next: row.wg_next })
    // Also if the identity key has changed since the entry was written, which would then say one that is no longer the node's.
    if (row.wg_next !== key || row.identity_key !== identity) return err(refusal('E_KEY_NOT_ANNOUNCED'))
    this.#sql.run(
      'UPDATE nodes SET wg_key = ?, wg_next = NULL, wg_rotation_until = NULL, key_entry = ? WHERE id = ?',
      key,
      entry,
      id,
    )
    return ok({ wireguard: key, next: null })
  }

  #member(id: NodeId): NodeRow | undefined {
    return this.#sql.first<NodeRow>(
      'SELECT * FROM nodes WHERE id = ? AND removed_at IS NULL AND quarantine IS NULL',
      id,
    )
  }
}
