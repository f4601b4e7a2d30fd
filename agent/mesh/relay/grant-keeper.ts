/** This node's grant for one relay: asked for when a peer is wanted that it does not name, and anew before it ends. */
import type { RelayGrantReply } from '../../../protocol/http.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { RELAY_GRANT_MS } from '../../../protocol/limits.ts'
import type { Clock, Timer } from '../../clock.ts'
import type { Log } from '../../log.ts'

/** Peers that are wanted one after another are asked for together. */
const GATHER_MS = 50
/** Renewed when this much of its life is left, give or take, so that a fleet does not ask at once and an outage of minutes is not felt. */
const RENEW_BEFORE_MS = RELAY_GRANT_MS / 2
const RETRY_BASE_MS = 1_000
const RETRY_CAP_MS = 60_000
/** A peer that was not granted is asked for again after this: it may have joined the mesh a moment later. */
const DENIED_MS = 15_000

interface Options {
  readonly clock: Clock
  /** The gateway's time. */
  readonly now: () => number
  readonly log: Log
  readonly request: (peers: readonly NodeId[]) => Promise<RelayGrantReply>
  /** There is a new one. */
  readonly onGrant: () => void
}

export class GrantKeeper {
  readonly #options: Options
  #grant: { readonly text: string; readonly peers: ReadonlySet<NodeId>; readonly until: number } | undefined
  #wanted: ReadonlySet<NodeId> = new Set()
  /** Until when it is not asked for again, on the clock that never runs backwards. */
  readonly #denied = new Map<NodeId, number>()
  #timer: Timer | undefined
  #asking = false
  #failures = 0
  #stopped = false

  constructor(options: Options) {
    this.#options = options
  }

  /** Undefined while there is none that holds. */
  get text(): string | undefined {
    return this.#isValid ? this.#grant?.text : undefined
  }

  covers(peer: NodeId): boolean {
    return this.#isValid && this.#grant?.peers.has(peer) === true
  }

  want(peers: ReadonlySet<NodeId>): void {
    this.#wanted = peers
    for (const peer of this.#denied.keys()) if (!peers.has(peer)) this.#denied.delete(peer)
    this.#plan()
  }

  /** The relay does not take it: another has to be asked for. */
  refused(): void {
    this.#grant = undefined
    this.#plan()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  get #isValid(): boolean {
    return this.#grant !== undefined && this.#options.now() < this.#grant.until
  }

  /** When to ask next, if at all. */
  #plan(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#stopped || this.#asking || this.#wanted.size === 0) return
    const { clock, now } = this.#options
    const waits: number[] = []
    for (const peer of this.#wanted)
      if (!this.covers(peer)) waits.push(Math.max(GATHER_MS, (this.#denied.get(peer) ?? 0) - clock.elapsed()))
    if (this.#grant !== undefined)
      waits.push(Math.max(GATHER_MS, this.#grant.until - RENEW_BEFORE_MS * (1 + clock.random() / 2) - now()))
    const backoff =
      this.#failures === 0
        ? 0
        : RETRY_BASE_MS + clock.random() * Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** this.#failures)
    if (waits.length === 0) return
    this.#timer = clock.after(Math.max(backoff, Math.min(...waits)), () => void this.#ask())
  }

  async #ask(): Promise<void> {
    const { request, clock, log, onGrant } = this.#options
    this.#asking = true
    const asked = [...this.#wanted]
    try {
      const { grant, peers, until } = await request(asked)
      this.#grant = { text: grant, peers: new Set(peers), until }
      this.#failures = 0
      for (const peer of asked) this.#noteDenied(peer, peers.includes(peer), clock.elapsed())
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      // None of them: an answer, and no failure.
      if (code === 'E_RELAY_PEER') for (const peer of asked) this.#noteDenied(peer, false, clock.elapsed())
      else this.#failures++
      log.debug('no grant for the relay', { problem: error instanceof Error ? error.message : String(error) })
    } finally {
      this.#asking = false
    }
    if (this.#stopped) return
    this.#plan()
    if (this.#isValid) onGrant()
  }

  #noteDenied(peer: NodeId, granted: boolean, at: number): void {
    if (granted) this.#denied.delete(peer)
    else this.#denied.set(peer, at + DENIED_MS)
  }
}
