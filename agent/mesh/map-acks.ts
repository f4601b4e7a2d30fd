/**
 * Tells the gateway which map the interface follows: what is said is what has been applied, never what has only been heard. Changes come in
 * bursts, and one acknowledgement stands for all before it.
 */
import { MESH_ACK_INTERVAL_MS } from '../../protocol/limits.ts'
import type { MeshPosition } from '../../protocol/mesh.ts'
import type { Clock, Timer } from '../clock.ts'

export interface MapAck extends MeshPosition {
  /** Of the map at that place (crypto/mesh-hash.ts). */
  readonly hash: string
}

export class MapAcks {
  readonly #clock: Pick<Clock, 'after'>
  readonly #send: (ack: MapAck) => void
  #applied: MapAck | undefined
  #sent: MapAck | undefined
  /** Runs while the next one has to wait. */
  #pause: Timer | undefined
  #connected = false

  constructor(clock: Pick<Clock, 'after'>, send: (ack: MapAck) => void) {
    this.#clock = clock
    this.#send = send
  }

  /** The gateway forgets what was said with the session it was said in. */
  connect(): void {
    this.#connected = true
    this.#sent = undefined
    this.#flush()
  }

  disconnect(): void {
    this.#connected = false
  }

  /** The interface is as this map says. */
  applied(ack: MapAck): void {
    this.#applied = ack
    this.#flush()
  }

  /** The map has got to another place; if it is the one that is applied already, that is all there was to do. */
  moved(ack: MapAck): void {
    if (this.#applied?.hash === ack.hash) this.applied(ack)
  }

  stop(): void {
    this.#connected = false
    this.#pause?.cancel()
  }

  #flush(): void {
    if (!this.#connected || this.#pause !== undefined || this.#applied === undefined) return
    if (this.#sent !== undefined && isSame(this.#sent, this.#applied)) return
    this.#sent = this.#applied
    this.#send(this.#applied)
    this.#pause = this.#clock.after(MESH_ACK_INTERVAL_MS, () => {
      this.#pause = undefined
      this.#flush()
    })
  }
}

const isSame = (a: MapAck, b: MapAck): boolean => a.seq === b.seq && a.epoch === b.epoch && a.hash === b.hash
