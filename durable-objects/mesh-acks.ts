/**
 * What nodes say of the map they have. It is kept in the socket's attachment and compared with what went out over that socket: no row, and no
 * word to the Fleet. A node whose map is another than the gateway means is sent all of it, once a session, and the trail says so.
 */
import type { MeshAckFrame } from '../protocol/frames.ts'
import type { NodeId } from '../protocol/ids.ts'
import type { Attachment } from './attachment.ts'
import { count } from './counters.ts'
import type { Sessions } from './sessions.ts'

interface Options {
  readonly sessions: Sessions
  readonly record: (node: NodeId, action: string, reason: string) => Promise<void>
  /** Sends the whole map. */
  readonly resync: (socket: WebSocket) => Promise<void>
}

export class MeshAcks {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  async note(socket: WebSocket, { epoch, seq, hash }: MeshAckFrame): Promise<void> {
    const { sessions, record, resync } = this.#options
    const session = sessions.get(socket)
    if (session === undefined) return
    count('mesh_acks')
    const seenAt = Date.now()
    const verdict = judge(session, { epoch, seq, hash })
    sessions.update(socket, { seenAt, ack: { epoch, seq, at: seenAt, ...(verdict && { verdict }) } })
    if (verdict !== 'wrong') return
    count('mesh_divergences')
    const { node } = session
    console.error({ event: 'mesh_diverged', node, seq, resynced: session.diverged !== true })
    if (session.diverged) return
    sessions.update(socket, { diverged: true })
    await record(
      node,
      'mesh.diverged',
      `its map at entry ${seq} of the log is not the gateway's; it is sent anew`,
    )
    await resync(socket)
  }
}

/** Undefined where other changes are on their way: the node will speak again. */
function judge(
  { mesh, meant }: Attachment,
  { epoch, seq, hash }: Pick<MeshAckFrame, 'epoch' | 'seq' | 'hash'>,
): 'ok' | 'wrong' | undefined {
  if (meant === undefined || mesh?.epoch !== epoch || mesh.seq !== seq) return undefined
  return meant === hash ? 'ok' : 'wrong'
}
