/** Signals from node to node: to the shards of those they are for, and there to their sockets, if the policy lets the two speak. */
import type { SignalFrame } from '../protocol/frames.ts'
import type { NodeId } from '../protocol/ids.ts'
import { shardName } from '../protocol/shard.ts'
import { callObject } from './call-object.ts'
import { sendFrame } from './close.ts'
import { readConfig } from './config.ts'
import { count } from './counters.ts'
import type { Env } from './env.ts'
import { audienceOf, type MeshDelivery } from './mesh-delivery.ts'
import type { Sessions } from './sessions.ts'

type Signals = SignalFrame['signals']

export class MeshSignals {
  readonly #env: Env
  readonly #sessions: Sessions
  readonly #mesh: MeshDelivery

  constructor(env: Env, sessions: Sessions, mesh: MeshDelivery) {
    this.#env = env
    this.#sessions = sessions
    this.#mesh = mesh
  }

  async route(socket: WebSocket, from: NodeId, signals: Signals): Promise<void> {
    const session = this.#sessions.get(socket)
    const audience = session?.mesh && audienceOf(session)
    const { shards } = await readConfig(this.#env)
    const byShard = Map.groupBy(signals, ({ to }) => shardName(to, shards))
    const own = shardName(from, shards)
    await Promise.all(
      [...byShard].map(async ([shard, part]) => {
        if (shard === own) return this.deliver(from, audience, part)
        await callObject(this.#env.SESSION_SHARD, shard, (stub) => stub.deliver(from, audience, part))
      }),
    )
  }

  /** One for an absent node is dropped, its sender will hear from it. @param audience the sender's class; undefined if it takes no part in the mesh. */
  async deliver(from: NodeId, audience: number | undefined, signals: Signals): Promise<void> {
    for (const { to, sealed } of signals) {
      for (const socket of this.#sessions.of(to)) {
        const session = this.#sessions.get(socket)
        if (session?.mesh === undefined) continue
        const isWanted = await this.#mesh.mayHear(session, audience)
        if (isWanted) sendFrame(socket, { type: 'signal', from, sealed })
        count(isWanted ? 'signals_routed' : 'signals_refused')
      }
    }
  }
}
