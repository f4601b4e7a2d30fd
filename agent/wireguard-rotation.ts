/**
 * Another WireGuard key in place of the one in force: each month, or when somebody asks. At every moment the keys on disk are those that peers
 * were told of, and whoever starts after a crash goes on where it stopped:
 *
 *     wireguard.next.key written ──▶ announced ──▶ wireguard.key holds it too ──▶ interface ──▶ gateway told ──▶ wireguard.next.key removed
 *
 * Without the gateway nothing is begun, and what is begun waits: the last step is the only one that may be late. A change that is due by the calendar
 * also waits for peers that are cut off from the gateway, for as long as they may be (the lease of the map, seven days unless set).
 */
import { EXIT, UserError } from '../host/user-error.ts'
import type { WireGuardKey } from '../protocol/ids.ts'
import { MESH_LEASE_MS } from '../protocol/limits.ts'
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
/** How long a change that is due waits for peers that are cut off. */
const PATIENCE_MS = MESH_LEASE_MS
const RETRY_MS = 60_000
const PEERS_RETRY_MS = 60 * 60_000

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
  /** The key that was announced in this session. */
  #announced: WireGuardKey | undefined
  #timer: Timer | undefined

  constructor(options: Options) {
    this.#options = options
    this.#spread = options.clock.random() * SPREAD
  }

  /** A session is up: what was cut short is finished, what is due is done. */
  connected(): void {
    this.#connected = true
    this.#announced = undefined
    this.#look()
  }

  disconnected(): void {
    this.#connected = false
    this.#timer?.cancel()
  }

  /** Requests that come meanwhile share the one that is under way. @throws UserError if it cannot be done now. */
  rotate(isPatient = false): Promise<void> {
    this.#running ??= this.#rotate(isPatient).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  report(error: unknown): void {
    const arePeersAway = error instanceof UserError && error.code === 'E_PEERS_AWAY'
    this.#options.log[arePeersAway ? 'info' : 'warn'](
      'the WireGuard key was not replaced; it is tried again',
      {
        problem: error instanceof Error ? error.message : String(error),
      },
    )
    this.#lookAfter(arePeersAway ? PEERS_RETRY_MS : RETRY_MS)
  }

  async #rotate(isPatient: boolean): Promise<void> {
    const { node, mesh, log } = this.#options
    const { directory, keys } = node
    const next = await keepNextWireguard(directory)
    const { publicKey: key } = next
    if (key !== keys.wireguard.publicKey) {
      await this.#announce(key)
      const commit = () => {
        putNextWireguardInForce(directory)
        const before = keys.wireguard
        keys.wireguard = next
        before.privateKey.wipe()
      }
      if (mesh === undefined) commit()
      else {
        const end = await mesh.handOver(next, commit, isPatient)
        if (end !== 'done') throw POSTPONED[end]()
      }
    }
    await this.#confirm(key)
    discardNextWireguard(directory)
    log.info('this node has another WireGuard key', { key })
  }

  /** Once a session, however often it is tried: each announcement is in the trail. */
  async #announce(key: WireGuardKey): Promise<void> {
    const { directory, client } = this.#options.node
    if (this.#announced === key) return
    try {
      await client.tellWireguardKey({ step: 'announce', key })
    } catch (error) {
      // Somebody has it, by whatever chance: the next try makes another.
      if (error instanceof UserError && error.code === 'E_KEY_IN_USE') discardNextWireguard(directory)
      throw error
    }
    this.#announced = key
  }

  async #confirm(key: WireGuardKey): Promise<void> {
    const { client } = this.#options.node
    try {
      await client.tellWireguardKey({ step: 'use', key })
    } catch (error) {
      if (!(error instanceof UserError && error.code === 'E_KEY_NOT_ANNOUNCED')) throw error
      // A gateway that was set back to a copy of its disk has forgotten it, and the interface has no other by now.
      await client.tellWireguardKey({ step: 'announce', key })
      await client.tellWireguardKey({ step: 'use', key })
    }
  }

  #look(): void {
    this.#begin().catch((error: unknown) => this.report(error))
  }

  async #begin(): Promise<void> {
    const { node, clock } = this.#options
    const overdueMs = this.#overdueBy(clock.now())
    if (!hasNextWireguard(node.directory)) {
      if (overdueMs === undefined) return
      if (overdueMs < 0) return this.#lookAfter(Math.min(-overdueMs, LOOK_EVERY_MS))
    }
    await this.rotate(overdueMs === undefined || overdueMs < PATIENCE_MS)
    this.#lookAfter(LOOK_EVERY_MS)
  }

  #lookAfter(ms: number): void {
    this.#timer?.cancel()
    // The next session looks anew.
    if (!this.#connected) return
    this.#timer = this.#options.clock.after(ms, () => this.#look())
  }

  /** Undefined if never; less than zero if not yet. A key of a time to come is due: nobody knows how old it is. */
  #overdueBy(now: number): number | undefined {
    const { node, everyMs } = this.#options
    if (everyMs === undefined) return undefined
    const age = now - wireguardKeyMadeAt(node.directory)
    return age < 0 ? 0 : age - everyMs * (1 + this.#spread)
  }
}

const POSTPONED = {
  'no gateway': () =>
    new UserError({
      code: 'E_ROTATION_POSTPONED',
      message: 'the WireGuard key is not replaced now',
      why: 'the gateway, by which peers are told, or the mesh interface is away',
      fix: 'nothing: the agent does it when both are there',
      exitCode: EXIT.unavailable,
    }),
  'peers away': () =>
    new UserError({
      code: 'E_PEERS_AWAY',
      message: 'the WireGuard key is not replaced now',
      why: 'a peer that this node can reach does not answer by way of the gateway, and would be lost until it does',
      fix: 'nothing: the agent tries again; `clawnode rotate-wireguard` does not wait for it',
      exitCode: EXIT.unavailable,
    }),
}
