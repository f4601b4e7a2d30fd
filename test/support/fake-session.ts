/** The gateway's end of one session, in a test's hands. */
import { type RawData, WebSocket } from 'ws'
import { type GatewayFrame, NodeFrame, PING, PONG, type RequestFrame } from '../../protocol/frames.ts'
import type { NodeId } from '../../protocol/ids.ts'

export class FakeSession {
  readonly node: NodeId
  /** `jti` of the upgrade's proof. */
  readonly proof: string
  /** Every frame of the node but its requests, in order; the first is `register`. */
  readonly frames: NodeFrame[] = []
  readonly closed: Promise<number>
  pings = 0
  answersPings = true
  readonly #socket: WebSocket
  readonly #onRequest: (frame: RequestFrame) => void
  readonly #watchers = new Set<() => void>()

  constructor(
    socket: WebSocket,
    { sub, jti }: { readonly sub: NodeId; readonly jti: string },
    onRequest: (frame: RequestFrame) => void,
  ) {
    this.#socket = socket
    this.#onRequest = onRequest
    this.node = sub
    this.proof = jti
    this.closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('message', (data) => this.#receive(data))
  }

  send(frame: GatewayFrame | { readonly type: string } | string): void {
    this.#socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  /** The first frame of this type, now or later. */
  async frame<T extends NodeFrame['type']>(type: T): Promise<Extract<NodeFrame, { type: T }>> {
    await this.until(() => this.frames.some((frame) => frame.type === type))
    const found = this.frames.find((frame): frame is Extract<NodeFrame, { type: T }> => frame.type === type)
    if (found === undefined) throw new Error('unreachable')
    return found
  }

  /** Looks again whenever something has come from the node. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve()
    return new Promise((resolve) => {
      const look = () => {
        if (!condition()) return
        this.#watchers.delete(look)
        resolve()
      }
      this.#watchers.add(look)
    })
  }

  close(code: number): void {
    this.#socket.close(code)
  }

  /** As a gateway that vanishes. */
  terminate(): void {
    this.#socket.terminate()
  }

  #receive(data: RawData): void {
    const text = data.toString()
    if (text === PING) {
      this.pings++
      if (this.answersPings && this.#socket.readyState === WebSocket.OPEN) this.#socket.send(PONG)
    } else {
      const frame = NodeFrame.parse(JSON.parse(text))
      if (frame.type === 'request') this.#onRequest(frame)
      else this.frames.push(frame)
    }
    for (const look of this.#watchers) look()
  }
}
