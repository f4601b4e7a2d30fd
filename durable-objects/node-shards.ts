/** The way from the registry to a node's session, which its shard holds. */
import type { NodeId } from '../protocol/ids.ts'
import { shardName } from '../protocol/shard.ts'
import { callObject } from './call-object.ts'
import type { Env } from './env.ts'
import type { SessionShard } from './session-shard.ts'

export class NodeShards {
  readonly count: number
  readonly #namespace: Env['SESSION_SHARD']

  constructor(env: Pick<Env, 'SESSION_SHARD' | 'SESSION_SHARDS'>) {
    this.count = Number(env.SESSION_SHARDS)
    this.#namespace = env.SESSION_SHARD
  }

  /** @param work must be idempotent: it may be tried again. */
  call<P>(node: NodeId, work: (shard: DurableObjectStub<SessionShard>) => P): Promise<Awaited<P>> {
    return callObject(this.#namespace, shardName(node, this.count), work)
  }
}
