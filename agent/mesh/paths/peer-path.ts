/**
 * The search for the best direct path to one peer, and the watch over the one in use. It knows neither sockets nor timers nor WireGuard: it
 * is told what was heard, says what is to be pinged now, and which endpoint WireGuard should have.
 *
 *     begin ──▶ burst: every candidate is pinged until it answers ──▶ a better one that answers both ways is used
 *                 ▲                                                        │ pinged every few seconds
 *                 └── retries, ever more seldom ◀── nothing answers ◀──────┘ silent: burst again, and dead after 5 s
 */
import type { Endpoint } from '../../../protocol/ids.ts'
import { TokenBucket } from '../../../protocol/token-bucket.ts'
import type { Nearness } from '../endpoints.ts'

/** In a burst: often at first, when both ends have just heard of each other. */
const BURST_MS = [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000, 1_300, 1_600, 2_000, 2_500, 3_000]
/** A search that found nothing is repeated after this long, twice as long, and so on. */
const RETRY_FIRST_MS = 5_000
/** For ever, but at a cost that does not count: twenty packets of a hundred bytes. */
const RETRY_LAST_MS = 5 * 60_000
/** A path is in doubt when a ping is this late, and asked again this often … */
const DOUBT_MS = 1_000
const DOUBT_EVERY_MS = 500
/** … and dead when nothing was heard for so long. With the interval of the pings that is within ten seconds of what happened. */
const DEAD_MS = 5_000
/** While the path is in doubt, another that answers is taken. Longer than two ends of one fault need to see it. */
const DISTRUST_MS = 1_500
/** A peer whose pings come from there, and only from there, has been given another port by its NAT: its answer needs no second question. */
const MOVED_MS = 300
/** A ping of the peer is answered by one of ours, but not each of many. */
const TRIGGER_MS = 50
/** An answer older than this says nothing about now. */
const FRESH_MS = 5_000
/** A near candidate answers before a far one; a far one that came first waits this long for it. */
const SETTLE_MS = 30
/** Between two changes that only make things better: two ends must not chase each other. */
const HOLD_MS = 10_000
/** Another of the same kind has to be this much faster. */
const FASTER = 0.8
const FASTER_MS = 10
/** Learned from packets, beside those that the peer has told. */
const MAX_SEEN = 4
/** Changes that only make things better, within this time, after which there are no more. */
const MAX_CHANGES = 3
const CHANGES_MS = 60_000
/** Pings to one peer: a burst to a dozen candidates at once, then some a second. What a peer tells us to ping may be somebody else's. */
const PINGS = { burst: 200, perSecond: 20 }

export interface Told {
  readonly endpoint: Endpoint
  readonly nearness: Nearness
}

interface Candidate extends Told {
  readonly told: boolean
  /** Of the first ping that has not been answered since. */
  waitingSince: number | undefined
  pingedAt: number
  answeredAt: number
  /** Of the answers, in ms; smoothed. */
  rtt: number | undefined
  /** To be pinged whatever else. */
  wanted: boolean
  /** When the peer has pinged from there. */
  heardAt: number
  /** Not to be used, whatever it answers. */
  shunnedUntil: number
}

export class PeerPath {
  readonly #candidates = new Map<Endpoint, Candidate>()
  #used: Endpoint | undefined
  #usedSince = Number.NEGATIVE_INFINITY
  readonly #changes: number[] = []
  /** Of the burst under way. */
  #burstAt: number | undefined
  #step = 0
  #retryAt: number | undefined
  #retryWait = RETRY_FIRST_MS
  #foundAt: number | undefined
  #soughtSince = Number.NEGATIVE_INFINITY
  readonly #pings = new TokenBucket(PINGS)
  /** Between two pings of a path that is well. */
  #interval = 3_000

  /** What WireGuard should send to; undefined if no direct path is known to work. */
  get used(): Endpoint | undefined {
    return this.#used
  }

  get rtt(): number | undefined {
    return this.#used === undefined ? undefined : this.#candidates.get(this.#used)?.rtt
  }

  get hasCandidates(): boolean {
    return this.#candidates.size > 0
  }

  /** Whether the peer answers, by any path. */
  isAnswering(now: number): boolean {
    return [...this.#candidates.values()].some(
      ({ answeredAt }) => now - answeredAt < DEAD_MS + this.#interval,
    )
  }

  get isSearching(): boolean {
    return this.#burstAt !== undefined
  }

  isInDoubt(now: number): boolean {
    const used = this.#usedCandidate
    return used !== undefined && this.#silence(used, now) >= DOUBT_MS
  }

  /** How long nothing has answered since there was reason to ask. */
  silentFor(now: number): number {
    const answers = [...this.#candidates.values()].map(({ answeredAt }) => answeredAt)
    return now - Math.max(this.#soughtSince, ...answers)
  }

  set interval(ms: number) {
    this.#interval = ms
  }

  /** All that the peer tells now. @returns whether any of it is new. */
  offer(told: readonly Told[], now: number): boolean {
    const isNew = told.some(({ endpoint }) => !this.#candidates.has(endpoint))
    const before = new Map(this.#candidates)
    this.#candidates.clear()
    for (const { endpoint, nearness } of told)
      this.#candidates.set(endpoint, { ...(before.get(endpoint) ?? fresh()), endpoint, nearness, told: true })
    for (const [endpoint, candidate] of before) {
      // What the peer no longer tells goes; where its packets come from it need not know itself.
      const keep = !candidate.told || endpoint === this.#used || now - candidate.answeredAt < FRESH_MS
      if (!this.#candidates.has(endpoint) && keep)
        this.#candidates.set(endpoint, { ...candidate, told: false })
    }
    if (isNew) this.begin(now)
    return isNew
  }

  /** Searches anew at once: something has changed, here or there. */
  begin(now: number): void {
    this.#retryWait = RETRY_FIRST_MS
    this.#soughtSince = now
    this.#burst(now)
  }

  /** The peer is searching: both do so at the same time, or the NATs in between are never open together. */
  join(now: number): void {
    if (this.#burstAt === undefined) this.#burst(now)
  }

  /** The network of this machine has changed: nothing that was heard before says anything. */
  reset(now: number): void {
    for (const candidate of this.#candidates.values()) Object.assign(candidate, fresh())
    this.#burstAt = undefined
    this.begin(now)
  }

  /** A ping of the peer: it is there, and this is how it looks from here. */
  heardPing(from: Told, now: number): void {
    const known = this.#candidates.get(from.endpoint)
    const candidate = known ?? this.#see(from)
    candidate.heardAt = now
    // Only the answer to a ping of ours tells whether the path goes both ways, and the NATs let it through just now.
    if (now - candidate.answeredAt >= FRESH_MS && now - candidate.pingedAt >= TRIGGER_MS)
      candidate.wanted = true
    if (known === undefined || this.#used === undefined) this.join(now)
    // From elsewhere than before: the old way may be gone.
    const used = this.#usedCandidate
    if (used !== undefined && used !== candidate && now - used.answeredAt >= DOUBT_MS) used.wanted = true
  }

  /** An answer to our ping, from where it was sent to. */
  heardPong(endpoint: Endpoint, rtt: number, now: number): void {
    const candidate = this.#candidates.get(endpoint)
    if (candidate === undefined) return
    candidate.waitingSince = undefined
    candidate.answeredAt = now
    candidate.rtt = candidate.rtt === undefined ? rtt : candidate.rtt * 0.7 + rtt * 0.3
    this.#foundAt ??= now
  }

  /** WireGuard has moved to this endpoint by itself, because an authentic packet came from it: it is right until shown otherwise. */
  adopt(at: Told, now: number): void {
    if (this.#used === at.endpoint) return
    if (!this.#candidates.has(at.endpoint)) this.#see(at)
    this.#use(at.endpoint, now)
    const used = this.#usedCandidate
    if (used !== undefined) used.wanted = true
  }

  /** The path in use is none for WireGuard, whatever the pings say. */
  abandon(now: number, ms: number): void {
    const used = this.#usedCandidate
    if (used !== undefined) used.shunnedUntil = now + ms
    this.#used = undefined
    this.#retryAt = now + ms
  }

  /** What to ping now. Each of these counts as sent. */
  due(now: number): Endpoint[] {
    const due = [...this.#candidates.values()].filter((candidate) => this.#isDue(candidate, now))
    this.#advanceBurst(now)
    return due.flatMap((candidate) => {
      candidate.pingedAt = now
      candidate.wanted = false
      if (!this.#pings.take(now)) return []
      candidate.waitingSince ??= now
      return [candidate.endpoint]
    })
  }

  /** Decides by what has been heard. @param alive whether WireGuard itself heard from the peer over the used path since it fell silent. */
  decide(now: number, alive: () => boolean): void {
    const used = this.#usedCandidate
    if (used !== undefined && this.#silence(used, now) >= DEAD_MS) {
      if (!alive()) {
        this.#used = undefined
        used.answeredAt = Number.NEGATIVE_INFINITY
        this.#burst(now)
      } else used.waitingSince = undefined
    } else if (used !== undefined && this.#silence(used, now) >= DOUBT_MS && this.#burstAt === undefined) {
      this.#burst(now)
    }
    const best = this.#bestOther(now)
    if (best !== undefined && this.#isWorthIt(best, now)) this.#use(best.endpoint, now)
  }

  get #usedCandidate(): Candidate | undefined {
    return this.#used === undefined ? undefined : this.#candidates.get(this.#used)
  }

  /** True once for each time that a search begins of itself, so that the peer can be told to join in. */
  takeRetry(now: number): boolean {
    if (this.#retryAt === undefined || now < this.#retryAt) return false
    this.#retryAt = undefined
    this.#retryWait = Math.min(this.#retryWait * 2, RETRY_LAST_MS)
    this.#burst(now)
    return true
  }

  /** When there is something to do next. */
  nextAt(now: number): number {
    const times = [...this.#candidates.values()].map((candidate) => this.#pingAt(candidate, now))
    if (this.#retryAt !== undefined) times.push(this.#retryAt)
    if (this.#burstAt !== undefined) times.push(this.#burstAt + (BURST_MS[this.#step] ?? 0))
    if (this.#foundAt !== undefined && this.#used === undefined && now < this.#foundAt + SETTLE_MS)
      times.push(this.#foundAt + SETTLE_MS)
    const used = this.#usedCandidate
    if (used?.waitingSince !== undefined) {
      const since = used.waitingSince
      const waits = [MOVED_MS + 3 * (used.rtt ?? 0), DOUBT_MS, DISTRUST_MS, DEAD_MS]
      times.push(...waits.map((wait) => since + wait).filter((at) => at > now))
    }
    return Math.max(now, Math.min(...times, Number.POSITIVE_INFINITY))
  }

  #burst(now: number): void {
    if (this.#candidates.size === 0) return
    // One that has just begun is this one.
    if (this.#burstAt !== undefined && this.#step < 2) return
    this.#burstAt = now
    this.#step = 0
    this.#retryAt = undefined
    this.#foundAt = undefined
  }

  #advanceBurst(now: number): void {
    if (this.#burstAt === undefined) return
    while (this.#step < BURST_MS.length && now >= this.#burstAt + (BURST_MS[this.#step] ?? 0)) this.#step++
    if (this.#step < BURST_MS.length) return
    this.#burstAt = undefined
    if (this.#used === undefined) this.#retryAt = now + this.#retryWait
  }

  #isDue(candidate: Candidate, now: number): boolean {
    return now >= this.#pingAt(candidate, now)
  }

  #pingAt(candidate: Candidate, now: number): number {
    const { pingedAt, answeredAt, waitingSince } = candidate
    if (candidate.wanted) return now
    const times: number[] = []
    if (candidate.endpoint === this.#used) {
      const inDoubt = waitingSince !== undefined && now - waitingSince >= DOUBT_MS
      const wait = inDoubt ? DOUBT_EVERY_MS : waitingSince === undefined ? this.#interval : DOUBT_MS
      times.push(pingedAt + wait)
    }
    if (this.#burstAt !== undefined) {
      // Once it has answered in this burst, it has said what there is to say.
      const at = this.#burstAt + (BURST_MS[this.#step] ?? Number.POSITIVE_INFINITY)
      if (answeredAt < this.#burstAt && pingedAt < at) times.push(at)
    }
    return Math.min(...times, Number.POSITIVE_INFINITY)
  }

  #bestOther(now: number): Candidate | undefined {
    const answering = [...this.#candidates.values()].filter(
      ({ endpoint, answeredAt, waitingSince, shunnedUntil }) =>
        endpoint !== this.#used &&
        now - answeredAt < FRESH_MS &&
        (waitingSince === undefined || now - waitingSince < DOUBT_MS) &&
        now >= shunnedUntil,
    )
    return answering.sort((a, b) => compare(a, b))[0]
  }

  #isWorthIt(best: Candidate, now: number): boolean {
    const used = this.#usedCandidate
    if (used === undefined)
      return best.nearness === 'lan' || !this.#mayBeNear() || now - (this.#foundAt ?? now) >= SETTLE_MS
    // It must have answered since the other one fell silent, or it may be as dead.
    if (this.#silence(used, now) >= this.#patience(used, best))
      return best.answeredAt >= (used.waitingSince ?? now)
    if (!this.#isBetter(best, used, now)) return false
    while ((this.#changes[0] ?? now) < now - CHANGES_MS) this.#changes.shift()
    if (this.#changes.length >= MAX_CHANGES) return false
    this.#changes.push(now)
    return true
  }

  /** How long the one in use may be silent while the other answers. */
  #patience(used: Candidate, other: Candidate): number {
    const hasMoved = other.heardAt >= (used.waitingSince ?? Number.POSITIVE_INFINITY) - TRIGGER_MS
    return hasMoved ? Math.min(MOVED_MS + 3 * (used.rtt ?? DISTRUST_MS), DISTRUST_MS) : DISTRUST_MS
  }

  #isBetter(best: Candidate, used: Candidate, now: number): boolean {
    if (best.nearness !== used.nearness) return best.nearness === 'lan'
    if (now - this.#usedSince < HOLD_MS || used.rtt === undefined || best.rtt === undefined) return false
    return best.rtt < used.rtt * FASTER && best.rtt < used.rtt - FASTER_MS
  }

  #mayBeNear(): boolean {
    return [...this.#candidates.values()].some(({ nearness }) => nearness === 'lan')
  }

  #use(endpoint: Endpoint, now: number): void {
    this.#used = endpoint
    this.#usedSince = now
    this.#retryWait = RETRY_FIRST_MS
    this.#retryAt = undefined
  }

  /** How long it has been asked without an answer. */
  #silence({ waitingSince }: Candidate, now: number): number {
    return waitingSince === undefined ? 0 : now - waitingSince
  }

  #see(at: Told): Candidate {
    const seen = [...this.#candidates.values()].filter(
      ({ told, endpoint }) => !told && endpoint !== this.#used,
    )
    // The longest silent goes.
    const oldest = seen.sort((a, b) => a.answeredAt - b.answeredAt)[0]
    if (seen.length >= MAX_SEEN && oldest !== undefined) this.#candidates.delete(oldest.endpoint)
    const candidate = { ...fresh(), ...at, told: false }
    this.#candidates.set(at.endpoint, candidate)
    return candidate
  }
}

const fresh = () => ({
  waitingSince: undefined,
  pingedAt: Number.NEGATIVE_INFINITY,
  answeredAt: Number.NEGATIVE_INFINITY,
  rtt: undefined,
  wanted: false,
  heardAt: Number.NEGATIVE_INFINITY,
  shunnedUntil: Number.NEGATIVE_INFINITY,
})

/** Near before far, quick before slow. */
function compare(a: Candidate, b: Candidate): number {
  if (a.nearness !== b.nearness) return a.nearness === 'lan' ? -1 : 1
  return (a.rtt ?? Number.POSITIVE_INFINITY) - (b.rtt ?? Number.POSITIVE_INFINITY)
}
