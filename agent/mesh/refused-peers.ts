/** Peers that `wg` would not take. They are left alone for a while: each costs commands of its own, and the next answer is likely the same. */
import type { NodeId, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import type { PeerChange } from './reconcile.ts'
import type { Refusal } from './wg.ts'

const RETRY_MS = 60_000

interface Refused {
  readonly problem: string
  readonly retryAt: number
}

export interface RefusedPeer {
  readonly id: NodeId
  readonly why: string
}

export class RefusedPeers {
  readonly #clock: Clock
  readonly #refused = new Map<WireGuardKey, Refused>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Those of the changes that are worth trying now. A peer that needs none any more is forgotten. */
  select(changes: readonly PeerChange[]): PeerChange[] {
    const needed = new Set(changes.map(({ publicKey }) => publicKey))
    for (const key of this.#refused.keys()) if (!needed.has(key)) this.#refused.delete(key)
    const now = this.#clock.elapsed()
    return changes.filter(({ publicKey }) => now >= (this.#refused.get(publicKey)?.retryAt ?? now))
  }

  /** What came of the changes that were tried. */
  note(tried: readonly PeerChange[], refusals: readonly Refusal[]): void {
    for (const { publicKey } of tried) this.#refused.delete(publicKey)
    const retryAt = this.#clock.elapsed() + RETRY_MS
    for (const { publicKey, problem } of refusals) this.#refused.set(publicKey, { problem, retryAt })
  }

  among(peers: readonly MeshPeer[]): RefusedPeer[] {
    return peers.flatMap(({ id, wg, next }) => {
      const refused = this.#refused.get(wg) ?? (next && this.#refused.get(next))
      return refused === undefined ? [] : [{ id, why: refused.problem }]
    })
  }
}

/** How many are named; a gateway can make up any number. */
const MAX_NAMED = 5

/** Undefined if there are none. */
export function describeRefused(refused: readonly RefusedPeer[]): string | undefined {
  if (refused.length === 0) return undefined
  const named = refused.slice(0, MAX_NAMED).map(({ id, why }) => `${id} (${why})`)
  const more = refused.length > MAX_NAMED ? [`and ${refused.length - MAX_NAMED} more`] : []
  return `left out of the mesh: ${[...named, ...more].join(', ')}`
}
