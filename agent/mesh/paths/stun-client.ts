/**
 * Asks STUN servers how this node looks from outside, through the port that WireGuard uses. Only what an asked server answers to a question
 * of ours counts. None is asked that nobody has named.
 */
import type { Nat } from '../../../crypto/signal.ts'
import type { Endpoint } from '../../../protocol/ids.ts'
import type { Clock, Timer } from '../../clock.ts'
import { formatEndpoint, splitEndpoint } from '../endpoint-form.ts'
import { type Family, familyOf } from '../ip-ranges.ts'
import { bindingRequest, parseBindingAnswer } from './stun-message.ts'

/** A question is repeated after these times; RFC 8489's half a second at first would be half of what a direct path may take to find. */
const REPEAT_MS = [200, 600, 1_400]
const ROUND_MS = 3_000
/** Without a change of the network: to notice a mapping that is gone. */
const AGAIN_MS = 10 * 60_000
/** Servers that are silent may be back. */
const SILENT_AGAIN_MS = 60_000
/** However often something looks changed. */
const LEAST_MS = 5_000
/** Two that agree are enough; more are for the case that some are silent. */
const MAX_ADDRESSES = 8

interface Options {
  readonly send: (packet: Uint8Array, to: Endpoint) => void
  readonly families: () => ReadonlySet<Family>
  readonly clock: Clock
  readonly resolve: (host: string) => Promise<readonly string[]>
  readonly onChange: () => void
}

interface Question {
  readonly server: Endpoint
  readonly packet: Uint8Array
}

export class StunClient {
  readonly #options: Options
  #servers: readonly string[] = []
  #open = new Map<string, Question>()
  #answers = new Map<Endpoint, Endpoint>()
  #askedAt: number | undefined
  #timers: Timer[] = []
  #round: object | undefined
  #silent = false

  constructor(options: Options) {
    this.#options = options
  }

  /** `host:port` each. */
  use(servers: readonly string[]): void {
    if (String(servers) === String(this.#servers)) return
    this.#servers = servers
    this.reset()
  }

  /** The network has changed: what was answered before is void. */
  reset(): void {
    this.#answers.clear()
    this.#silent = false
    this.#begin()
  }

  /** Something looks different from outside. */
  again(): void {
    const { clock } = this.#options
    if (this.#askedAt === undefined || clock.elapsed() - this.#askedAt >= LEAST_MS) this.#begin()
  }

  stop(): void {
    this.#round = undefined
    for (const timer of this.#timers.splice(0)) timer.cancel()
    this.#open.clear()
  }

  /** In the order of the servers. */
  get mapped(): readonly Endpoint[] {
    return [...new Set(this.#answers.values())]
  }

  /** Whether servers were asked, and none of them answered. */
  get isSilent(): boolean {
    return this.#silent
  }

  /** @param own the node's endpoints as it knows them itself. */
  natOf(own: ReadonlySet<Endpoint>): Nat {
    if (this.#answers.size === 0) return 'unknown'
    const hard = (['ipv4', 'ipv6'] as const).some((family) => {
      const ofFamily = [...this.#answers.values()].filter(
        (endpoint) => familyOf(splitEndpoint(endpoint).address) === family,
      )
      return new Set(ofFamily).size > 1
    })
    if (hard) return 'hard'
    return this.mapped.every((endpoint) => own.has(endpoint)) ? 'none' : 'easy'
  }

  /** @returns whether it was an answer to a question of ours. */
  receive(packet: Uint8Array, from: Endpoint): boolean {
    const answer = parseBindingAnswer(packet)
    if (answer === undefined || this.#open.get(answer.txid)?.server !== from) return false
    this.#open.delete(answer.txid)
    this.#silent = false
    if (this.#answers.get(from) === answer.mapped) return true
    this.#answers.set(from, answer.mapped)
    this.#options.onChange()
    return true
  }

  #begin(): void {
    this.stop()
    if (this.#servers.length === 0) return
    const round = {}
    this.#round = round
    this.#askedAt = this.#options.clock.elapsed()
    void this.#addresses().then((servers) => {
      if (this.#round === round) this.#ask(servers)
    })
  }

  #ask(servers: readonly Endpoint[]): void {
    const { clock, onChange } = this.#options
    for (const server of this.#answers.keys()) if (!servers.includes(server)) this.#answers.delete(server)
    for (const server of servers) {
      const { txid, packet } = bindingRequest()
      this.#open.set(txid, { server, packet })
    }
    const send = () => {
      for (const { packet, server } of this.#open.values()) this.#options.send(packet, server)
    }
    send()
    this.#timers = REPEAT_MS.map((wait) => clock.after(wait, send))
    const end = () => {
      const answered = servers.length - this.#open.size
      this.#open.clear()
      const silent = answered === 0
      if (silent) this.#answers.clear()
      if (silent !== this.#silent) {
        this.#silent = silent
        onChange()
      }
      this.#timers = [clock.after(silent ? SILENT_AGAIN_MS : AGAIN_MS, () => this.#begin())]
    }
    this.#timers.push(clock.after(ROUND_MS, end))
  }

  async #addresses(): Promise<Endpoint[]> {
    const { resolve, families } = this.#options
    const found = await Promise.all(
      this.#servers.map(async (server) => {
        const colon = server.lastIndexOf(':')
        const port = Number(server.slice(colon + 1))
        const host = server.slice(0, colon).replace(/^\[|\]$/g, '')
        const addresses = port > 0 && port < 65_536 ? await resolve(host).catch(() => []) : []
        return addresses
          .filter((address) => families().has(familyOf(address)))
          .map((address) => formatEndpoint(address, port))
      }),
    )
    return [...new Set(found.flat())].slice(0, MAX_ADDRESSES)
  }
}
