/**
 * How long the map may still be used. The gateway grants a time with each session, and signs it (crypto/gateway-proof.ts); whenever it is heard in
 * that session, the time begins anew. A node that is cut off from the gateway goes on with its peers until the time is over, and no longer: a peer
 * that was removed meanwhile is then out here, too.
 *
 * What is kept on disk is the time that was left, so that no restart lengthens it. An agent runs it down by the boot's clock, which nobody sets and
 * which goes on while the machine sleeps. Between two agents the longer of what that clock and the wall clock say has passed, and across boots there
 * is only the wall clock: one that is behind the last note was set back, and ends the lease.
 */
import * as z from 'zod'
import { parseJson } from '../../protocol/json.ts'
import type { Clock, Timer } from '../clock.ts'

/** Timers hold no more, and a note is due by then: what a lease has lost by running is not given back by a clock that is set back to before. */
const NOTE_EVERY_MS = 10 * 60_000
/** Of the time granted: what a crash may cost. */
const NOTE_SHARE = 0.05
/** Clocks of one machine are set back by so much without anything being wrong. */
const CLOCK_STEP_MS = 60_000

/** This boot, and how long it has lasted, sleep included. */
export interface BootClock {
  readonly boot: string
  readonly uptimeMs: number
}

const Note = z.strictObject({
  version: z.literal(1),
  grantedMs: z.int().nonnegative(),
  leftMs: z.int().nonnegative(),
  /** By the wall clock, and by that of this boot. */
  notedAt: z.int(),
  boot: z.string(),
  uptimeMs: z.number(),
})

interface Options {
  readonly clock: Clock
  readonly bootClock: () => BootClock
  /** For this user's eyes only, like the map. */
  readonly load: () => string | undefined
  readonly save: (text: string) => void
}

const PROBLEMS = {
  over: 'the gateway was not heard for longer than it allows',
  'clock set back': "this machine's clock was set back, and nobody knows how long the gateway was not heard",
  'never granted': 'no session has said how long the map may be used',
} as const

export const LEASE_FIX = 'see why the gateway is out of reach: the peers are back with the next session'

/** @param nodes in the map. Undefined if there is nothing to say. */
export const describeLease = (state: LeaseState, nodes: number): string | undefined =>
  state === 'lasts' || nodes === 0
    ? undefined
    : `the ${nodes} nodes of the map are not spoken to: ${PROBLEMS[state]}`

export type LeaseState = 'lasts' | 'over' | 'clock set back' | 'never granted'

export class MapLease {
  readonly #options: Options
  #grantedMs = 0
  /** By the boot's clock. */
  #endsAt = Number.NEGATIVE_INFINITY
  #notedAt = Number.NEGATIVE_INFINITY
  #state: LeaseState = 'never granted'
  #timer: Timer | undefined
  #onChange: () => void = () => undefined

  constructor(options: Options) {
    this.#options = options
  }

  /** Takes up what was left, for an agent that starts. @param onChange is told when the lease ends, and when it lasts again. */
  start(onChange: () => void): void {
    this.#onChange = onChange
    const text = this.#options.load()
    const note = text === undefined ? undefined : Note.safeParse(parseJson(text)).data
    if (note === undefined) return
    const { clock, bootClock } = this.#options
    const { boot, uptimeMs } = bootClock()
    const byWall = clock.now() - note.notedAt
    // In a container the boot's clock may be the container's own, and begin anew.
    const byBoot = boot === note.boot ? uptimeMs - note.uptimeMs : byWall
    if (Math.min(byWall, byBoot) < -CLOCK_STEP_MS) {
      this.#become('clock set back')
      return
    }
    this.#grantedMs = note.grantedMs
    this.#endsAt = uptimeMs + note.leftMs - Math.max(0, byWall, byBoot)
    this.#look()
  }

  stop(): void {
    this.#timer?.cancel()
    if (this.#state === 'lasts') this.#note()
  }

  get state(): LeaseState {
    // Whoever asks just after the machine slept is not to wait for the timer.
    return this.#state === 'lasts' && this.#leftMs() <= 0 ? 'over' : this.#state
  }

  get lasts(): boolean {
    return this.state === 'lasts'
  }

  /** The gateway has granted it: the time begins. */
  grant(leaseMs: number): void {
    this.#grantedMs = leaseMs
    this.#notedAt = Number.NEGATIVE_INFINITY
    this.heard()
  }

  /** The gateway was heard in a session that it has signed: the time begins anew. */
  heard(): void {
    if (this.#grantedMs === 0) return
    this.#endsAt = this.#uptime() + this.#grantedMs
    this.#look()
  }

  #look(): void {
    const leftMs = this.#leftMs()
    if (leftMs > 0) {
      const noteEvery = Math.min(NOTE_EVERY_MS, this.#grantedMs * NOTE_SHARE)
      if (this.#uptime() - this.#notedAt >= noteEvery) this.#note()
      this.#timer?.cancel()
      this.#timer = this.#options.clock.after(Math.min(leftMs, noteEvery), () => this.#look())
      this.#become('lasts')
    } else {
      this.#timer?.cancel()
      this.#note()
      this.#become('over')
    }
  }

  #become(state: LeaseState): void {
    if (state === this.#state) return
    this.#state = state
    this.#onChange()
  }

  #note(): void {
    const { clock, bootClock, save } = this.#options
    const { boot, uptimeMs } = bootClock()
    this.#notedAt = uptimeMs
    const leftMs = Math.max(0, Math.floor(this.#leftMs()))
    const note: z.infer<typeof Note> = {
      version: 1,
      grantedMs: this.#grantedMs,
      leftMs,
      notedAt: clock.now(),
      boot,
      uptimeMs,
    }
    save(JSON.stringify(note))
  }

  #leftMs(): number {
    return this.#endsAt - this.#uptime()
  }

  #uptime(): number {
    return this.#options.bootClock().uptimeMs
  }
}
