/** The identity keys of nodes that change them, which they do when their owner asks. */
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { IdentityKey, NodeId } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { FleetParts } from './fleet-parts.ts'

/** An offline node may take a day to hear that it is asked. */
const ALLOWED_MS = 24 * 60 * 60_000

export class IdentityKeys {
  readonly #fleet: FleetParts

  constructor(fleet: FleetParts) {
    this.#fleet = fleet
  }

  /** Lets the node change its identity key, and asks it to, now or when it is next here. */
  async ask(id: NodeId): Promise<void> {
    const { sql, shards } = this.#fleet
    sql.run('UPDATE nodes SET rotation_until = ? WHERE id = ?', Date.now() + ALLOWED_MS, id)
    await shards.call(id, (shard) => shard.askForRotation(id))
  }

  /**
   * The old key has signed for the new one, and the new one for itself; the node stays who it is. Only while its owner has asked for it:
   * whoever has copied a key must not be able to take the node over with it.
   */
  async rotate(id: NodeId, identity: IdentityKey, entry: number): Promise<Result<IdentityKey, Refusal>> {
    const { sql, nodes, shards } = this.#fleet
    const owner = await nodes.ofKey(identity)
    if (owner?.id === id && owner.identity === identity) return ok(identity)
    if (owner !== undefined) return err(refusal('E_KEY_IN_USE'))
    const changed = sql.first(
      `UPDATE nodes SET identity_key = ?, rotation_until = NULL, key_entry = ?
       WHERE id = ? AND removed_at IS NULL AND quarantine IS NULL AND rotation_until > ? RETURNING id`,
      identity,
      entry,
      id,
      Date.now(),
    )
    if (changed === undefined) return err(refusal('E_ROTATION_NOT_ASKED'))
    await shards.call(id, (shard) => shard.forget(id))
    return ok(identity)
  }
}
