/** Answers what somebody asks of this node's mesh by way of the gateway, sealed to the one that asks. */
import type { importSealingKey } from '../../crypto/hpke.ts'
import { sealMeshAnswer } from '../../crypto/mesh-answer.ts'
import type { MeshQuestion } from '../../protocol/frames.ts'
import type { Endpoint, FleetId, NodeId } from '../../protocol/ids.ts'
import { MAX_MESH_QUESTIONS } from '../../protocol/limits.ts'
import type { MeshAnswer } from '../../protocol/mesh-report.ts'
import type { Commands } from './exec.ts'
import { pingThrough } from './mesh-ping.ts'
import { reportPage, reportPair } from './pair-report.ts'
import type { PeerStatus } from './peer-status.ts'

interface Options {
  readonly fleet: FleetId
  readonly self: NodeId
  readonly sealingKey: Awaited<ReturnType<typeof importSealingKey>>
  readonly commands: Commands
  readonly iface: string
  readonly peers: () => Promise<readonly PeerStatus[]>
  /** Endpoints at which anybody reaches this node. */
  readonly open: () => readonly Endpoint[]
}

export class MeshAnswers {
  readonly #options: Options
  #running = 0

  constructor(options: Options) {
    this.#options = options
  }

  /** Undefined for one question too many: whoever asks waits in vain, and tries again. */
  async answer(question: MeshQuestion): Promise<string | undefined> {
    if (this.#running >= MAX_MESH_QUESTIONS) return undefined
    this.#running++
    try {
      const { fleet, self, sealingKey } = this.#options
      const { request, sealTo } = question
      return await sealMeshAnswer(
        sealTo,
        await this.#find(question),
        { fleet, node: self, request },
        sealingKey,
      )
    } finally {
      this.#running--
    }
  }

  async #find(question: MeshQuestion): Promise<MeshAnswer> {
    const { peers, open } = this.#options
    if (question.type === 'mesh_report') return reportPage(await peers(), open(), question.after)
    return this.#ping(question.to)
  }

  async #ping(to: NodeId): Promise<MeshAnswer> {
    const { commands, iface, peers } = this.#options
    const find = async () => (await peers()).find(({ id }) => id === to)
    const peer = await find()
    if (peer === undefined) return { kind: 'refusal', code: 'unknown_peer' }
    const echoes = await pingThrough(commands, iface, peer.ipv4)
    if (typeof echoes === 'string') return { kind: 'refusal', code: echoes }
    return { kind: 'ping', ...echoes, pair: reportPair((await find()) ?? peer) }
  }
}
