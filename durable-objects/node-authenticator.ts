/** Who a proof is from, for the nodes of one shard: their keys, cached for a minute, and the proofs already used. */
import { importIdentityKey } from '../crypto/identity.ts'
import {
  claimedNode,
  goneAt,
  isTimely,
  type ProvenRequest,
  verifyProof,
  verifySignature,
} from '../crypto/request-proof.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { NodeId } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { NodeRecord } from './fleet.ts'
import type { ReplayCache } from './replay-cache.ts'

/** A change of a node is told to its shard at once; this is for the case that the telling failed. */
const KEEP_MS = 60_000

export interface Authenticated {
  readonly node: NodeRecord
  readonly jti: string
  /** By which of its origins the node knows this gateway. */
  readonly origin: string
}

export type ProofUse = 'once' | 'read'

interface KnownNode {
  readonly record: NodeRecord
  readonly key: CryptoKey
  readonly loadedAt: number
}

export class NodeAuthenticator {
  readonly #replays: ReplayCache
  readonly #load: (id: NodeId) => Promise<NodeRecord | undefined>
  readonly #known = new Map<NodeId, KnownNode>()
  /** Raised by each change in the registry: what was being loaded at that moment may be old. */
  #changes = 0

  constructor(replays: ReplayCache, load: (id: NodeId) => Promise<NodeRecord | undefined>) {
    this.#replays = replays
    this.#load = load
  }

  /** @param use `read`: the proof may come again, and costs no row, because its answer is the same and tells nobody more. */
  async authenticate(
    jwt: string,
    request: ProvenRequest,
    origins: ReadonlySet<string>,
    use: ProofUse,
  ): Promise<Result<Authenticated, Refusal>> {
    const claimed = claimedNode(jwt)
    if (!claimed.ok) return claimed
    const node = await this.node(claimed.value)
    if (node === undefined) return err(refusal('E_NODE_UNKNOWN'))
    const proof = await verifyProof(jwt, node.key, request, origins, Date.now())
    if (!proof.ok) return proof
    if (node.record.removed) return err(refusal('E_NODE_REMOVED'))
    if (node.record.quarantine !== undefined) return err(refusal('E_NODE_QUARANTINED'))
    const isNew =
      use === 'once'
        ? this.#replays.admit(proof.value.jti, goneAt(proof.value), Date.now())
        : !this.#replays.hasSeen(proof.value.jti)
    if (!isNew) return err(refusal('E_PROOF_REPLAYED'))
    return ok({ node: node.record, jti: proof.value.jti, origin: proof.value.aud })
  }

  /** Whether it is a proof this node signed; used up, wherever and for whatever it was made. */
  async burn(jwt: string): Promise<boolean> {
    const claimed = claimedNode(jwt)
    const node = claimed.ok ? await this.node(claimed.value) : undefined
    const claims = node && (await verifySignature(jwt, node.key))
    // An untimely one is refused anyway, and would lie in the cache for as long as it claims to live.
    if (!claims?.ok || !isTimely(claims.value, Date.now())) return false
    this.#replays.admit(claims.value.jti, goneAt(claims.value), Date.now())
    return true
  }

  async node(id: NodeId): Promise<KnownNode | undefined> {
    const known = this.#known.get(id)
    if (known !== undefined && Date.now() - known.loadedAt < KEEP_MS) return known
    const changes = this.#changes
    const record = await this.#load(id)
    if (record === undefined) return undefined
    const loaded = { record, key: await importIdentityKey(record.identity), loadedAt: Date.now() }
    if (changes === this.#changes) this.#known.set(id, loaded)
    return loaded
  }

  forget(id: NodeId): void {
    this.#changes += 1
    this.#known.delete(id)
  }
}
