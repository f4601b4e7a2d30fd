/** A node that does nothing wrong while others do: whatever reaches it of their doing, it notes. */
import { once } from 'node:events'
import type { WebSocket } from 'ws'
import { PING, PONG } from '../../protocol/frames.ts'
import type { RawNode } from './raw-node.ts'

const BEAT_MS = 250
/** Others come and go, signal to whom they like, and are given other secrets. */
const OF_OTHERS = new Set(['mesh', 'signal', 'secret_changed'])
const TELEMETRY = { uptimeSeconds: 1, load1: 0, memoryTotalBytes: 1, memoryFreeBytes: 1 }

export class Bystander {
  readonly sent = { pings: 0, telemetry: 0 }
  readonly received = { pongs: 0, acks: 0 }
  /** Error frames, closes, and acknowledgements of what it did not send. */
  readonly disturbances: string[] = []
  readonly #socket: WebSocket
  readonly #timer: NodeJS.Timeout
  #stopped = false

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data) => this.#receive(data.toString()))
    socket.on('close', (code) => {
      if (!this.#stopped) this.disturbances.push(`closed with ${code}`)
    })
    socket.on('error', (error) => this.disturbances.push(error.message))
    this.#timer = setInterval(() => this.#beat(), BEAT_MS)
  }

  static async connect(node: RawNode): Promise<Bystander> {
    const { socket, register } = await node.dial()
    await once(socket, 'open')
    socket.send(JSON.stringify(register))
    const [first] = (await once(socket, 'message')) as [Buffer]
    if (!first.toString().startsWith('{"type":"registered"')) throw new Error(first.toString())
    return new Bystander(socket)
  }

  /** Resolves when everything that was sent is answered. */
  async settled(limitMs: number): Promise<void> {
    clearInterval(this.#timer)
    const deadline = Date.now() + limitMs
    const { sent, received } = this
    while (received.pongs < sent.pings || received.acks < sent.telemetry) {
      if (Date.now() > deadline) throw new Error(`unanswered: ${JSON.stringify({ sent, received })}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async close(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    if (this.#socket.readyState === this.#socket.CLOSED) return
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }

  #beat(): void {
    this.#socket.send(PING)
    this.sent.pings++
    this.#socket.send(JSON.stringify({ type: 'telemetry', n: this.sent.telemetry, telemetry: TELEMETRY }))
    this.sent.telemetry++
  }

  #receive(text: string): void {
    if (text === PONG) {
      this.received.pongs++
      return
    }
    const frame = JSON.parse(text) as { readonly type: string; readonly n?: number }
    if (frame.type === 'ack' && frame.n === this.received.acks) this.received.acks++
    else if (!OF_OTHERS.has(frame.type)) this.disturbances.push(text.slice(0, 200))
  }
}
