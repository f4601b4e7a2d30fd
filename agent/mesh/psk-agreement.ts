/**
 * Pre-shared keys between this node and its peers, agreed on by ML-KEM-768 in sealed signals (crypto/pair-psk.ts). Only with peers that want it,
 * too; never on disk. A key counts from the next handshake on, so that a change costs no packet; a session lasts three minutes, and in them both
 * ends must come to have the same.
 *
 *     smaller id:  offer ──answer, tag right──▶ confirm ──done──▶ key on the interface
 *     greater id:        answer ──confirm, tag right──▶ key on the interface, done
 *
 * Where the two ends have different keys all the same (one has restarted, a word was lost) handshakes fail, and the key is agreed on anew; if
 * nobody can be asked, both ends give up theirs, each by itself, once the session is dead: a pair is never lost to it.
 */
import { timingSafeEqual } from 'node:crypto'
import { type AgreedPsk, agreePsk } from '../../crypto/pair-psk.ts'
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import type { PskSignal, SignalContent } from '../../crypto/signal.ts'
import type { FleetId, NodeId, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Log } from '../log.ts'
import type { FoundPeer } from './device-peers.ts'
import { decapsulate, encapsulate, generateKem, type KemKeyPair } from './ml-kem.ts'
import { isReachable } from './peer-status.ts'

const SAY_AGAIN_MS = 5_000
const SAY_TIMES = 4
const RENEW_MS = 24 * 60 * 60_000
/** From the first sign that the two ends differ: as long as it takes to say everything, and to be answered late. */
const HEAL_MS = 30_000
/** A session lasts as long (REJECT_AFTER_TIME); without one for longer, the keys may differ. */
const DEAD_MS = 180_000

type PskContent = Extract<SignalContent, { kind: 'psk' }>

interface Options {
  readonly fleet: FleetId
  readonly self: { readonly id: NodeId; readonly wireguard: { readonly publicKey: WireGuardKey } }
  /** Whether this node wants any. */
  readonly isWanted: boolean
  readonly clock: Clock
  readonly log: Log
  readonly say: (peer: MeshPeer, content: PskContent) => void
  /** @param psk undefined for none. @returns whether the interface has that peer. */
  readonly install: (peer: MeshPeer, psk: SecretBytes | undefined) => Promise<boolean>
}

/** What was said last, and is said again until it is answered. */
interface Exchange {
  readonly kem?: KemKeyPair
  readonly agreed?: AgreedPsk
  timer: Timer | undefined
}

export class PskAgreement {
  readonly #options: Options
  readonly #exchanges = new Map<NodeId, Exchange>()
  /** Peers with which a key is in use here, and since when. */
  readonly #settled = new Map<NodeId, number>()
  /** Since when the keys seem to differ. */
  readonly #differing = new Map<NodeId, number>()
  #renewal: Timer | undefined

  constructor(options: Options) {
    this.#options = options
  }

  get settled(): ReadonlySet<NodeId> {
    return new Set(this.#settled.keys())
  }

  /** A session is up, or these peers are new or have other keys. */
  begin(peers: readonly MeshPeer[]): void {
    const { isWanted, self } = this.#options
    if (!isWanted) return
    for (const peer of peers) {
      if (self.id < peer.id) this.#offer(peer)
      else this.#say(peer, { kind: 'psk', step: 'ask' }, {})
    }
  }

  /** Begins now, and each day anew. @param peers are those of that day. */
  beginEachDay(peers: () => readonly MeshPeer[]): void {
    this.begin(peers())
    this.#renewal?.cancel()
    if (this.#options.isWanted)
      this.#renewal = this.#options.clock.after(RENEW_MS, () => this.beginEachDay(peers))
  }

  async hear(peer: MeshPeer, signal: PskSignal): Promise<void> {
    const { isWanted, self } = this.#options
    if (!isWanted) {
      if (signal.step === 'ask' || signal.step === 'offer')
        this.#options.say(peer, { kind: 'psk', step: 'refuse' })
      return
    }
    const isInitiator = self.id < peer.id
    switch (signal.step) {
      case 'ask':
        if (isInitiator) this.#offer(peer)
        break
      case 'offer':
        if (!isInitiator) this.#answer(peer, signal.key)
        break
      case 'answer':
        if (isInitiator) this.#confirm(peer, signal)
        break
      case 'confirm':
        if (!isInitiator) await this.#take(peer, signal.tag, 'initiatorTag')
        break
      case 'done':
        if (isInitiator) await this.#take(peer, signal.tag, 'responderTag')
        break
      case 'refuse':
        this.#end(peer.id)
        await this.#drop(peer)
        break
      default:
        signal satisfies never
    }
  }

  /** Looks whether what the interface has can be what the peers have. */
  async look(peers: ReadonlyMap<NodeId, MeshPeer>, onDevice: readonly FoundPeer[]): Promise<void> {
    const { isWanted, clock } = this.#options
    for (const { id, found } of onDevice) {
      const peer = peers.get(id)
      if (peer === undefined) continue
      const hasPsk = found?.hasPsk === true
      if (hasPsk && !isWanted) await this.#drop(peer)
      else if (hasPsk) {
        const age = clock.elapsed() - (this.#settled.get(id) ?? Number.NEGATIVE_INFINITY)
        if (isReachable(found, clock.now()) || age < DEAD_MS) this.#differing.delete(id)
        else await this.#heal(peer)
      } else if (this.#settled.delete(id)) this.begin([peer])
    }
  }

  forgetAllBut(peers: ReadonlyMap<NodeId, unknown>): void {
    for (const id of this.#exchanges.keys()) if (!peers.has(id)) this.#end(id)
    for (const map of [this.#settled, this.#differing])
      for (const id of map.keys()) if (!peers.has(id)) map.delete(id)
  }

  stop(): void {
    this.#renewal?.cancel()
    for (const id of [...this.#exchanges.keys()]) this.#end(id)
  }

  async #heal(peer: MeshPeer): Promise<void> {
    const now = this.#options.clock.elapsed()
    const since = this.#differing.get(peer.id)
    if (since === undefined) {
      this.#differing.set(peer.id, now)
      this.begin([peer])
    } else if (now - since > HEAL_MS) {
      this.#options.log.warn('a pre-shared key is given up: its peer does not answer with it', {
        peer: peer.id,
      })
      await this.#drop(peer)
    }
  }

  async #drop(peer: MeshPeer): Promise<void> {
    this.#settled.delete(peer.id)
    this.#differing.delete(peer.id)
    await this.#options.install(peer, undefined)
  }

  #offer(peer: MeshPeer): void {
    const kem = generateKem()
    this.#say(peer, { kind: 'psk', step: 'offer', key: kem.encapsulationKey }, { kem })
  }

  #answer(peer: MeshPeer, encapsulationKey: string): void {
    const made = encapsulate(encapsulationKey)
    if (made === undefined) return
    const { ciphertext, shared } = made
    const agreed = this.#agree(peer, shared, encapsulationKey, ciphertext)
    // Said once: whoever has offered offers again.
    this.#say(peer, { kind: 'psk', step: 'answer', ciphertext, tag: agreed.responderTag }, { agreed }, 1)
  }

  #confirm(peer: MeshPeer, { ciphertext, tag }: Extract<PskSignal, { step: 'answer' }>): void {
    const kem = this.#exchanges.get(peer.id)?.kem
    const shared = kem && decapsulate(kem, ciphertext)
    if (kem === undefined || shared === undefined) return
    const agreed = this.#agree(peer, shared, kem.encapsulationKey, ciphertext)
    if (equal(tag, agreed.responderTag))
      this.#say(peer, { kind: 'psk', step: 'confirm', tag: agreed.initiatorTag }, { agreed })
    else agreed.psk.wipe()
  }

  async #take(peer: MeshPeer, tag: string, side: 'initiatorTag' | 'responderTag'): Promise<void> {
    const agreed = this.#exchanges.get(peer.id)?.agreed
    if (agreed === undefined || !equal(tag, agreed[side])) return
    if (!(await this.#options.install(peer, agreed.psk))) return
    this.#settled.set(peer.id, this.#options.clock.elapsed())
    this.#differing.delete(peer.id)
    // The one that answered keeps it for a confirmation that comes again; the next offer replaces it.
    if (side === 'initiatorTag')
      this.#options.say(peer, { kind: 'psk', step: 'done', tag: agreed.responderTag })
    else this.#end(peer.id)
  }

  #agree(peer: MeshPeer, shared: Uint8Array, encapsulationKey: string, ciphertext: string): AgreedPsk {
    const { fleet, self } = this.#options
    const [mine, theirs] = [
      { id: self.id, wg: self.wireguard.publicKey },
      { id: peer.id, wg: peer.wg },
    ]
    const [initiator, responder] = mine.id < theirs.id ? [mine, theirs] : [theirs, mine]
    const agreed = agreePsk(shared, { fleet, initiator, responder, encapsulationKey, ciphertext })
    shared.fill(0)
    return agreed
  }

  /** Again until the exchange goes on, or nobody seems to be there. */
  #say(peer: MeshPeer, content: PskContent, exchange: Omit<Exchange, 'timer'>, times = SAY_TIMES): void {
    this.#end(peer.id)
    const begun: Exchange = { ...exchange, timer: undefined }
    this.#exchanges.set(peer.id, begun)
    const say = (left: number) => {
      this.#options.say(peer, content)
      begun.timer = left > 1 ? this.#options.clock.after(SAY_AGAIN_MS, () => say(left - 1)) : undefined
    }
    say(times)
  }

  #end(id: NodeId): void {
    const exchange = this.#exchanges.get(id)
    exchange?.timer?.cancel()
    exchange?.agreed?.psk.wipe()
    this.#exchanges.delete(id)
  }
}

const equal = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
