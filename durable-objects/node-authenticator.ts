/** Who a proof is from, for the nodes of one shard: their keys, cached for a minute, and the proofs already used. */
import { importIdentityKey } from '../crypto/identity.ts'
import {
  goneAt,
  isSigned,
  isTimely,
  type ProofId,
  type ProvenRequest,
  readProof,
  verifyProof,
} from '../crypto/request-proof.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { NodeId } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import type { NodeRecord } from './node-record.ts'
import type { ReplayCache } from './replay-cache.ts'

/** A change of a node is told to its shard at once; this is for the case that the telling failed. */
const KEEP_MS = 60_000

/**
 * `once`: used up here. `recorded`: used up by the entry of what it asks for, in the audit log (used-proofs.ts). `read`: it may come again,
 * because its answer is the same and tells nobody more. Only the first costs a row here.
 */
export type ProofUse = 'once' | 'recorded' | 'read'

export interface Authenticated {
  readonly node: NodeRecord
  readonly proof: ProofId
  /** By which of its origins the node knows this gateway. */
  readonly origin: string
}

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

  async authenticate(
    jwt: string,
    request: ProvenRequest,
    origins: ReadonlySet<string>,
    use: ProofUse,
  ): Promise<Result<Authenticated, Refusal>> {
    const read = readProof(jwt)
    if (!read.ok) return read
    const node = await this.node(read.value.claims.sub)
    if (node === undefined) return err(refusal('E_NODE_UNKNOWN'))
    const verified = await verifyProof(read.value, node.key, request, origins, Date.now())
    if (!verified.ok) return verified
    if (node.record.removed) return err(refusal('E_NODE_REMOVED'))
    if (node.record.quarantine !== undefined) return err(refusal('E_NODE_QUARANTINED'))
    const proof = { jti: verified.value.jti, goneAt: goneAt(verified.value) }
    const isNew =
      use === 'once'
        ? this.#replays.admit(proof.jti, proof.goneAt, Date.now())
        : !this.#replays.hasSeen(proof.jti)
    return isNew
      ? ok({ node: node.record, proof, origin: verified.value.aud })
      : err(refusal('E_PROOF_REPLAYED'))
  }

  /** Whether it is a proof this node signed; used up, wherever and for whatever it was made. */
  async burn(jwt: string): Promise<boolean> {
    const read = readProof(jwt)
    if (!read.ok) return false
    const { claims } = read.value
    const node = await this.node(claims.sub)
    if (node === undefined || !(await isSigned(read.value, node.key))) return false
    // An untimely one is refused anyway, and would lie in the cache for as long as it claims to live.
    if (!isTimely(claims, Date.now())) return false
    this.#replays.admit(claims.jti, goneAt(claims), Date.now())
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
