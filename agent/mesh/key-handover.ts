/**
 * This node's change to another WireGuard key, which the gateway has announced. In the order in which nothing is lost:
 *
 *     ask peers to prepare ──all ready, or time is up──▶ commit to disk ──▶ interface ──▶ tell peers, who call with the new key
 *
 * From the interface's change until a peer calls, WireGuard keeps what is for that peer (128 packets), and still takes what the peer sends under
 * the session before. From the commit on there is no way back: whoever starts after a crash has the new key.
 */
import type { SignalContent } from '../../crypto/signal.ts'
import type { NodeId, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { type Clock, sleep } from '../clock.ts'

/** Who has not answered by then is asked again. */
const ASK_EVERY_MS = 1_000
/** A peer waits 10 s for the change (key-succession.ts): an answer that is older is asked for anew. */
const READY_MS = 6_000
/** One that does not answer at all has no agent, or its agent no gateway. */
const GIVE_UP_MS = 60_000
/** When peers that have not confirmed are told once more. */
const REMIND_AFTER_MS = [500, 1_000, 3_000, 6_000] as const

interface Options {
  readonly clock: Clock
  /** Those that traffic may flow to right now. */
  readonly reachable: () => Promise<readonly MeshPeer[]>
  readonly say: (peers: readonly MeshPeer[], content: SignalContent) => void
  /** Seals now what is to be sent in the moment of the change. */
  readonly prepare: (peers: readonly MeshPeer[], content: SignalContent) => Promise<() => void>
  readonly isConnected: () => boolean
}

export type HandoverEnd = 'done' | 'no gateway' | 'peers away'

interface Handover {
  readonly key: WireGuardKey
  readonly readyAt: Map<NodeId, number>
  readonly moved: Set<NodeId>
  /** Ends the wait for answers. */
  wake: () => void
}

export class KeyHandover {
  readonly #options: Options
  #current: Handover | undefined

  constructor(options: Options) {
    this.#options = options
  }

  /**
   * @param swap commits to the key and gives it to the interface.
   * @param isPatient whether to leave it if a peer that traffic may flow to does not answer: one that knows of the key notices the change by the
   * handshake, and loses some packets; one that does not is lost until it hears of it.
   * @returns whether it is done; if not, nothing is changed.
   */
  async run(key: WireGuardKey, swap: () => Promise<void>, isPatient: boolean): Promise<HandoverEnd> {
    const { reachable, say, prepare, isConnected } = this.#options
    const handover: Handover = { key, readyAt: new Map(), moved: new Set(), wake: () => undefined }
    this.#current = handover
    const peers = await reachable()
    const areReady = await this.#gather(handover, peers)
    const send = await prepare(peers, { kind: 'key', step: 'swapped', key })
    // Peers could not be told; that they would notice by themselves is for accidents, not for a change that can wait.
    if (!isConnected()) return 'no gateway'
    if (isPatient && !areReady) return 'peers away'
    await swap()
    send()
    this.#remind(handover, peers, say)
    return 'done'
  }

  hear(from: NodeId, step: 'ready' | 'moved', key: WireGuardKey): void {
    const handover = this.#current
    if (handover?.key !== key) return
    if (step === 'moved') handover.moved.add(from)
    else {
      handover.readyAt.set(from, this.#options.clock.elapsed())
      handover.wake()
    }
  }

  /** Until all are ready at once, or it takes too long, or there is no gateway that could carry the word. */
  async #gather(handover: Handover, peers: readonly MeshPeer[]): Promise<boolean> {
    const { clock, say, isConnected } = this.#options
    const deadline = clock.elapsed() + GIVE_UP_MS
    const missing = () =>
      peers.filter(
        ({ id }) => clock.elapsed() - (handover.readyAt.get(id) ?? Number.NEGATIVE_INFINITY) > READY_MS,
      )
    while (isConnected() && clock.elapsed() < deadline && missing().length > 0) {
      say(missing(), { kind: 'key', step: 'prepare', key: handover.key })
      const answered = new AbortController()
      handover.wake = () => {
        if (missing().length === 0) answered.abort()
      }
      await sleep(clock, ASK_EVERY_MS, answered.signal)
    }
    return missing().length === 0
  }

  #remind(handover: Handover, peers: readonly MeshPeer[], say: Options['say']): void {
    for (const wait of REMIND_AFTER_MS)
      this.#options.clock.after(wait, () =>
        say(
          peers.filter(({ id }) => !handover.moved.has(id)),
          { kind: 'key', step: 'swapped', key: handover.key },
        ),
      )
  }
}
