/**
 * Another WireGuard key in place of the one in force: each month, or when somebody asks. At every moment the keys on disk are those that peers
 * were told of, and whoever starts after a crash goes on where it stopped:
 *
 *     wireguard.next.key written ──▶ announced ──▶ wireguard.key holds it too ──▶ interface ──▶ gateway told ──▶ wireguard.next.key removed
 *
 * Without the gateway nothing is begun, and what is begun waits: the last step is the only one that may be late.
 */
import { EXIT, UserError } from '../host/user-error.ts'
import type { Clock, Timer } from './clock.ts'
import type { JoinedNode } from './joined-node.ts'
import type { Log } from './log.ts'
import type { MeshRuntime } from './mesh-runtime.ts'
import {
  discardNextWireguard,
  hasNextWireguard,
  keepNextWireguard,
  putNextWireguardInForce,
  wireguardKeyMadeAt,
} from './node-keys.ts'

/** Timers hold no more than 24 days, and a machine that slept shall not be late by as long as it did. */
const LOOK_EVERY_MS = 24 * 60 * 60_000
/** A fleet that joined in one hour shall not change its keys in one: a tenth of the interval lies between the first and the last. */
const SPREAD = 0.1
const RETRY_MS = 60_000

interface Options {
  readonly node: Pick<JoinedNode, 'directory' | 'keys' | 'client'>
  /** Undefined with `--no-mesh`: then there is no interface, and no peer to wait for. */
  readonly mesh: Pick<MeshRuntime, 'handOver'> | undefined
  readonly clock: Clock
  readonly log: Log
  /** Undefined if keys change on command only. */
  readonly everyMs: number | undefined
}

export class WireguardRotation {
  readonly #options: Options
  readonly #spread: number
  #running: Promise<void> | undefined
  #connected = false
  #timer: Timer | undefined

  constructor(options: Options) {
    this.#options = options
    this.#spread = options.clock.random() * SPREAD
  }

  /** A session is up: what was cut short is finished, what is due is done. */
  connected(): void {
    this.#connected = true
    this.#look()
  }

  disconnected(): void {
    this.#connected = false
    this.#timer?.cancel()
  }

  /** Requests that come meanwhile share the one that is under way. @throws UserError if it cannot be done now. */
  rotate(): Promise<void> {
    this.#running ??= this.#rotate().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  report(error: unknown): void {
    this.#options.log.warn('the WireGuard key was not replaced; it is tried again', {
      problem: error instanceof Error ? error.message : String(error),
    })
    this.#lookAfter(RETRY_MS)
  }

  async #rotate(): Promise<void> {
    const { node, mesh, log } = this.#options
    const { directory, keys, client } = node
    const next = await keepNextWireguard(directory)
    const { publicKey: key } = next
    if (key !== keys.wireguard.publicKey) {
      await client.tellWireguardKey({ step: 'announce', key })
      const commit = () => {
        putNextWireguardInForce(directory)
        const before = keys.wireguard
        keys.wireguard = next
        before.privateKey.wipe()
      }
      if (mesh === undefined) commit()
      else if (!(await mesh.handOver(next, commit))) throw postponed()
    }
    await client.tellWireguardKey({ step: 'use', key })
    discardNextWireguard(directory)
    log.info('this node has another WireGuard key', { key })
  }

  #look(): void {
    this.#begin().catch((error: unknown) => this.report(error))
  }

  async #begin(): Promise<void> {
    const { node, clock } = this.#options
    const wait = hasNextWireguard(node.directory) ? 0 : this.#dueIn(clock.now())
    if (wait === undefined) return
    if (wait > 0) return this.#lookAfter(Math.min(wait, LOOK_EVERY_MS))
    await this.rotate()
    this.#lookAfter(LOOK_EVERY_MS)
  }

  #lookAfter(ms: number): void {
    this.#timer?.cancel()
    // The next session looks anew.
    if (!this.#connected) return
    this.#timer = this.#options.clock.after(ms, () => this.#look())
  }

  /** Undefined if never. A key of a time to come is due: nobody knows how old it is. */
  #dueIn(now: number): number | undefined {
    const { node, everyMs } = this.#options
    if (everyMs === undefined) return undefined
    const age = now - wireguardKeyMadeAt(node.directory)
    return age < 0 ? 0 : Math.max(0, everyMs * (1 + this.#spread) - age)
  }
}

const postponed = (): UserError =>
  new UserError({
    code: 'E_ROTATION_POSTPONED',
    message: 'the WireGuard key is not replaced now',
    why: 'the gateway, by which peers are told, or the mesh interface is away',
    fix: 'nothing: the agent does it when both are there',
    exitCode: EXIT.unavailable,
  })
