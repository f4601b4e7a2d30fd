/**
 * The WireGuard keys of nodes that change them: first announced, so that every peer can know the next key, then in force. Which of the two it is
 * the node says, because only the node knows when its interface has changed.
 */
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { WireguardKeyReply } from '../protocol/http.ts'
import type { IdentityKey, NodeId, WireGuardKey } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { FleetParts } from './fleet-parts.ts'
import type { NodeRow } from './fleet-schema.ts'

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
  readonly #fleet: FleetParts

  constructor(fleet: FleetParts) {
    this.#fleet = fleet
  }

  /** Asks the node for another key, now or when it is next here. */
  async ask(id: NodeId): Promise<void> {
    const { sql, shards } = this.#fleet
    sql.run('UPDATE nodes SET wg_rotation_until = ? WHERE id = ?', Date.now() + ASKED_MS, id)
    await shards.call(id, (shard) => shard.askForWireguardRotation(id))
  }

  /** An announcement replaces an earlier one: a node that has lost its next key makes another. */
  announce(id: NodeId, key: WireGuardKey): Promise<Result<WireguardKeyReply, Refusal>> {
    return this.#change(id, (row) => this.#announce(row, key))
  }

  use(id: NodeId, use: WireguardUse): Promise<Result<WireguardKeyReply, Refusal>> {
    return this.#change(id, (row) => this.#use(row, use))
  }

  /** @param work is of one transaction. */
  async #change(
    id: NodeId,
    work: (row: NodeRow) => Result<WireguardKeyReply, Refusal>,
  ): Promise<Result<WireguardKeyReply, Refusal>> {
    const { mesh, shards } = this.#fleet
    const change = mesh.change(id, () => {
      const row = this.#member(id)
      return row === undefined ? err(refusal('E_NODE_NOT_FOUND')) : work(row)
    })
    if (!change.done.ok) return change.done
    void mesh.publish(change)
    await shards.call(id, (shard) => shard.forget(id))
    return change.done
  }

  #announce({ id, wg_key, wg_next }: NodeRow, key: WireGuardKey): Result<WireguardKeyReply, Refusal> {
    const { sql } = this.#fleet
    // A key that another node has, had at its removal, or will have: its peers would not know whom they talk to.
    const holder = sql.first<{ id: NodeId }>(
      'SELECT id FROM nodes WHERE wg_key = ? OR (wg_next = ? AND id != ?)',
      key,
      key,
      id,
    )
    if (holder !== undefined) return err(refusal('E_KEY_IN_USE'))
    if (wg_next !== key) sql.run('UPDATE nodes SET wg_next = ? WHERE id = ?', key, id)
    return ok({ wireguard: wg_key, next: key })
  }

  #use(row: NodeRow, { key, entry, identity }: WireguardUse): Result<WireguardKeyReply, Refusal> {
    if (row.wg_key === key) return ok({ wireguard: key, next: row.wg_next })
    // Also if the identity key has changed since the entry was written, which would then say one that is no longer the node's.
    if (row.wg_next !== key || row.identity_key !== identity) return err(refusal('E_KEY_NOT_ANNOUNCED'))
    this.#fleet.sql.run(
      'UPDATE nodes SET wg_key = ?, wg_next = NULL, wg_rotation_until = NULL, key_entry = ? WHERE id = ?',
      key,
      entry,
      row.id,
    )
    return ok({ wireguard: key, next: null })
  }

  #member(id: NodeId): NodeRow | undefined {
    return this.#fleet.sql.first<NodeRow>(
      'SELECT * FROM nodes WHERE id = ? AND removed_at IS NULL AND quarantine IS NULL',
      id,
    )
  }
}
