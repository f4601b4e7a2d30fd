/**
 * Pings and pongs with the peers of the map: who is who, what is fresh, and how much of it. A packet of a stranger, one that was not sealed
 * by the peer it names, or one that was heard before gets no answer. An answer is as long as the question, goes to where it came from, and
 * nothing is decided by a ping: only by the answer to a random number that was sent to that very address.
 */
import type { importSealingKey } from '../../../crypto/hpke.ts'
import {
  newTxid,
  openProbe,
  type ProbeKeys,
  probeKeys,
  probeSender,
  sealProbe,
  senderOf,
} from '../../../crypto/probe.ts'
import type { Endpoint, FleetId, NodeId } from '../../../protocol/ids.ts'
import type { Clock } from '../../clock.ts'
import type { AgentPeer } from '../agent-peer.ts'
import { RateLimit } from './rate-limit.ts'
import { ReplayGuard } from './replay-guard.ts'

/** An answer that comes later than this is of no use. */
const ANSWER_WITHIN_MS = 5_000
const MAX_WAITING = 8_192
/** Opening one costs some ten microseconds: what strangers can make a node spend is a percent or two of a core. */
const OPENED = { burst: 2_000, perSecond: 2_000 } as const
/** Answers to one peer: what it sends in a burst, from a dozen of our addresses to a dozen of its own. */
const ANSWERED = { burst: 300, perSecond: 60 } as const

export type Heard =
  | { readonly kind: 'ping'; readonly peer: NodeId; readonly from: Endpoint }
  | {
      readonly kind: 'pong'
      readonly peer: NodeId
      readonly from: Endpoint
      readonly rtt: number
      /** Where our ping came from, as the peer saw it. */
      readonly observed: Endpoint
    }

interface Options {
  readonly fleet: FleetId
  readonly self: NodeId
  readonly sealingKey: Awaited<ReturnType<typeof importSealingKey>>
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  readonly send: (packet: Uint8Array, to: Endpoint) => void
}

interface Known {
  readonly peer: AgentPeer
  keys: Promise<ProbeKeys | undefined> | undefined
  readonly replays: ReplayGuard
  readonly answers: RateLimit
}

interface Waiting {
  readonly peer: NodeId
  readonly to: Endpoint
  readonly at: number
}

export class ProbeExchange {
  readonly #options: Options
  readonly #sender: string
  readonly #opened: RateLimit
  #known = new Map<NodeId, Known>()
  #senders = new Map<string, NodeId>()
  readonly #waiting = new Map<string, Waiting>()

  constructor(options: Options) {
    this.#options = options
    this.#sender = probeSender(options.fleet, options.self)
    this.#opened = new RateLimit(options.clock, OPENED)
  }

  setPeers(peers: ReadonlyMap<NodeId, AgentPeer>): void {
    const { fleet, clock } = this.#options
    const senders = new Map([...this.#senders].filter(([, id]) => peers.has(id)))
    const named = new Set(senders.values())
    for (const id of peers.keys()) if (!named.has(id)) senders.set(probeSender(fleet, id), id)
    this.#senders = senders
    this.#known = new Map(
      [...peers].map(([id, peer]) => {
        const before = this.#known.get(id)
        if (before?.peer.seal === peer.seal) return [id, before]
        const known = {
          peer,
          keys: undefined,
          replays: new ReplayGuard(),
          answers: new RateLimit(clock, ANSWERED),
        }
        return [id, known]
      }),
    )
  }

  async ping(peer: NodeId, to: Endpoint): Promise<void> {
    const keys = await this.#keysOf(peer)
    if (keys === undefined) return
    const { clock, send } = this.#options
    const txid = newTxid()
    this.#forgetLate()
    this.#waiting.set(txid, { peer, to, at: clock.elapsed() })
    send(sealProbe(keys.send, this.#sender, { kind: 'ping', txid, at: clock.now() }), to)
  }

  /** Answers a ping. Undefined if there was nothing to be heard in it. */
  async receive(packet: Uint8Array, from: Endpoint): Promise<Heard | undefined> {
    const peer = this.#senders.get(senderOf(packet) ?? '')
    if (peer === undefined || !this.#opened.admit()) return undefined
    const keys = await this.#keysOf(peer)
    const known = this.#known.get(peer)
    if (keys === undefined || known === undefined) return undefined
    const opened = openProbe(keys.receive, packet)
    if (!opened.ok) return undefined
    const { clock, send } = this.#options
    if (opened.value.kind === 'pong') {
      const { txid, observed } = opened.value
      const waiting = this.#waiting.get(txid)
      if (waiting?.peer !== peer || waiting.to !== from) return undefined
      this.#waiting.delete(txid)
      const rtt = clock.elapsed() - waiting.at
      return rtt > ANSWER_WITHIN_MS ? undefined : { kind: 'pong', peer, from, rtt, observed }
    }
    const { txid, at } = opened.value
    if (!known.replays.admit(txid, at, clock.now()) || !known.answers.admit()) return undefined
    send(sealProbe(keys.send, this.#sender, { kind: 'pong', txid, observed: from }), from)
    return { kind: 'ping', peer, from }
  }

  #keysOf(id: NodeId): Promise<ProbeKeys | undefined> {
    const { fleet, self, sealingKey } = this.#options
    const known = this.#known.get(id)
    if (known === undefined) return Promise.resolve(undefined)
    known.keys ??= probeKeys(sealingKey, known.peer.seal, { fleet, self, peer: id })
    return known.keys
  }

  #forgetLate(): void {
    const now = this.#options.clock.elapsed()
    for (const [txid, { at }] of this.#waiting) {
      if (now - at <= ANSWER_WITHIN_MS && this.#waiting.size < MAX_WAITING) return
      this.#waiting.delete(txid)
    }
  }
}
