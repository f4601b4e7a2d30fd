/**
 * How agents ask each other, inside the tunnel, whether packets of a size arrive: a datagram of that size, and a short answer to it. Linux sends
 * a datagram that fits the interface in one piece and forbids to cut it, so that what is too large for the path is lost.
 *
 *     question: "clawmtu?" nonce(8) zeros…        answer: "clawmtu!" nonce(8) size(2)
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { randomBytes } from '../../crypto/bytes.ts'
import type { Ipv4 } from '../../protocol/ids.ts'
import { MTU_PROBE_PORT } from './firewall-ports.ts'

const QUESTION = Buffer.from('clawmtu?')
const ANSWER = Buffer.from('clawmtu!')
const HEAD_BYTES = 16
const ANSWER_BYTES = 18
/** Of IPv4 and UDP. */
const HEADER_BYTES = 28
/** Long for a round trip, short for whoever waits on a path that swallows large packets. */
const WAIT_MS = 1_000
/** Answers that the kernel does not take yet; past that they are dropped, as a network would. */
const MAX_QUEUED_BYTES = 64 * 1024

export interface MtuProbe {
  /** Which packets of these sizes, in bytes with all headers, arrive there. Empty also where nobody answers. */
  ask(address: Ipv4, sizes: readonly number[]): Promise<ReadonlySet<number>>
  close(): void
}

interface Question {
  readonly address: Ipv4
  readonly arrived: Set<number>
  readonly expected: number
  done(): void
}

/** @throws Error with the system's code if the port of the mesh address cannot be had. */
export async function openMtuProbe(own: Ipv4): Promise<MtuProbe> {
  const socket = createSocket('udp4')
  const listening = once(socket, 'listening')
  socket.bind({ address: own, port: MTU_PROBE_PORT, exclusive: true })
  try {
    await listening
  } catch (error) {
    socket.close()
    throw error
  }
  return new UdpMtuProbe(socket)
}

class UdpMtuProbe implements MtuProbe {
  readonly #socket: Socket
  readonly #asked = new Map<string, Question>()
  #closed = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('message', (packet, { address, port }) => this.#receive(packet, address, port))
    // What cannot be sent has not arrived.
    socket.on('error', () => {})
  }

  async ask(address: Ipv4, sizes: readonly number[]): Promise<ReadonlySet<number>> {
    // Whoever asks several times may be between two of them.
    if (this.#closed) return new Set()
    const nonce = Buffer.from(randomBytes(8))
    const key = nonce.toString('hex')
    const arrived = new Set<number>()
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, WAIT_MS)
      const done = () => {
        clearTimeout(timer)
        resolve()
      }
      this.#asked.set(key, { address, arrived, expected: sizes.length, done })
      for (const size of sizes) {
        const packet = Buffer.alloc(size - HEADER_BYTES)
        QUESTION.copy(packet)
        nonce.copy(packet, QUESTION.length)
        this.#socket.send(packet, MTU_PROBE_PORT, address, () => {})
      }
    })
    this.#asked.delete(key)
    return arrived
  }

  close(): void {
    this.#closed = true
    this.#socket.close()
    for (const { done } of this.#asked.values()) done()
  }

  #receive(packet: Buffer, address: string, port: number): void {
    if (packet.length < ANSWER_BYTES) return
    const nonce = packet.subarray(QUESTION.length, HEAD_BYTES)
    if (packet.subarray(0, QUESTION.length).equals(QUESTION)) {
      if (port !== MTU_PROBE_PORT || this.#socket.getSendQueueSize() > MAX_QUEUED_BYTES) return
      const size = Buffer.alloc(2)
      size.writeUInt16BE(packet.length + HEADER_BYTES)
      this.#socket.send(Buffer.concat([ANSWER, nonce, size]), port, address, () => {})
    } else if (packet.subarray(0, ANSWER.length).equals(ANSWER)) {
      const question = this.#asked.get(nonce.toString('hex'))
      if (question?.address !== address) return
      question.arrived.add(packet.readUInt16BE(HEAD_BYTES))
      if (question.arrived.size === question.expected) question.done()
    }
  }
}
