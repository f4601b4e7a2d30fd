/** Samples this machine while a session is up, and sends what is worth a frame. */
import type { Telemetry } from '../../protocol/frames.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Log } from '../log.ts'
import { changedMaterially } from './material-change.ts'

const SAMPLE_INTERVAL_MS = 10_000
/** Frames without an `ack` after which the log says so: the session answers pings, but nobody reads. */
const UNACKNOWLEDGED_WARNING = 3

interface Options {
  readonly clock: Clock
  readonly log: Log
  readonly sample: () => Telemetry
  readonly send: (n: number, telemetry: Telemetry) => void
}

export class TelemetryReporter {
  readonly #options: Options
  #timer: Timer | undefined
  #sent: { readonly telemetry: Telemetry; readonly at: number } | undefined
  #n = 0
  #acknowledged = 0

  constructor(options: Options) {
    this.#options = options
  }

  /** Begins with a frame at once: the gateway forgets telemetry with the socket it came by. */
  start(intervalMs: number): void {
    this.stop()
    this.#acknowledged = this.#n
    this.#tick(intervalMs)
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#sent = undefined
  }

  acknowledge(n: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, Math.min(n, this.#n))
  }

  #tick(intervalMs: number): void {
    const { clock } = this.#options
    this.#timer = clock.after(Math.min(SAMPLE_INTERVAL_MS, intervalMs), () => this.#tick(intervalMs))
    const telemetry = this.#options.sample()
    const last = this.#sent
    const due = last === undefined || clock.elapsed() - last.at >= intervalMs
    if (due || changedMaterially(last.telemetry, telemetry)) this.#send(telemetry)
  }

  #send(telemetry: Telemetry): void {
    const { clock, log, send } = this.#options
    if (this.#n - this.#acknowledged === UNACKNOWLEDGED_WARNING)
      log.warn('telemetry is not acknowledged', { sent: this.#n })
    this.#n++
    this.#sent = { telemetry, at: clock.elapsed() }
    send(this.#n, telemetry)
  }
}
