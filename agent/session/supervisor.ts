/**
 * Keeps a session with the gateway for as long as the agent runs.
 *
 *     connecting ──registered──▶ connected ──lost──▶ offline ──wait──▶ connecting
 *         └──────────lost────────────────────────────▲
 *     superseded: a long wait, because the other session may be a clone of this disk
 *     quarantined: a long wait, and quarantined until a session is up again
 *     removed, stopped: the end
 */
import type { UserError } from '../../host/user-error.ts'
import type { NodeFrame } from '../../protocol/frames.ts'
import type { NodeName } from '../../protocol/ids.ts'
import { type Clock, sleep } from '../clock.ts'
import type { GatewayClock } from '../gateway-clock.ts'
import type { Log } from '../log.ts'
import { nextWait, supersededWait, type Wait } from './backoff.ts'
import type { Dialled } from './dial.ts'
import { quarantined, quarantineWait } from './quarantine.ts'
import { type PushedFrame, type Registered, Session } from './session.ts'
import { failed, type SessionEnd } from './session-end.ts'

/** While the gateway is away the log says so once a minute, and at once if the reason changes. */
const REPEAT_AFTER_MS = 60_000
/** Not an outage, but something that somebody has done. */
const ALARMING: ReadonlySet<string> = new Set([
  'E_GATEWAY_KEY',
  'E_CHANNEL',
  'E_PIN_MISMATCH',
  'E_NODE_QUARANTINED',
])

interface Options {
  readonly clock: Clock
  readonly gatewayClock: GatewayClock
  readonly log: Log
  /** As the owner calls it. */
  readonly name: NodeName
  /** Opens a socket with a fresh proof. */
  readonly dial: () => Promise<Dialled>
  readonly onRegistered: (frame: Registered) => void
  /** A heartbeat was answered. */
  readonly onPong?: () => void
  readonly onFrame: (frame: PushedFrame) => void
  readonly onLost: () => void
  readonly onQuarantined: () => void
}

type Retried = Extract<SessionEnd, { kind: 'lost' | 'superseded' | 'quarantined' }>
type Problem = Pick<UserError, 'code' | 'message' | 'why' | 'fix'>

export interface SupervisorStatus {
  readonly session: 'connecting' | 'connected' | 'offline' | 'quarantined' | 'stopped'
  /** Unix milliseconds: since when it is connected, or since when it is not. */
  readonly since: number
  /** Why it is not connected. */
  readonly problem?: { readonly code: string; readonly message: string; readonly fix?: string | undefined }
}

export class SessionSupervisor {
  readonly #options: Options
  #session: Session | undefined
  #status: SupervisorStatus
  #logged: { readonly code: string; readonly at: number } | undefined

  constructor(options: Options) {
    this.#options = options
    this.#status = { session: 'connecting', since: options.clock.now() }
  }

  get status(): SupervisorStatus {
    return this.#status
  }

  /** False if no session is up. */
  send(frame: NodeFrame): boolean {
    return this.#session?.send(frame) ?? false
  }

  /** Runs until the signal aborts, or until the gateway says that this node was removed. */
  async run(signal: AbortSignal): Promise<'stopped' | 'removed'> {
    const { clock, onQuarantined } = this.#options
    let failures = 0
    while (!signal.aborted) {
      const { end, livedMs } = await this.#attempt(signal)
      if (end.kind === 'stopped') break
      if (end.kind === 'removed') return this.#stop('removed')
      if (end.kind === 'quarantined') onQuarantined()
      const wait = waitAfter(end, failures, livedMs, clock.random())
      failures = wait.failures
      this.#report(end, wait.delayMs)
      await sleep(clock, wait.delayMs, signal)
    }
    return this.#stop('stopped')
  }

  /** One session; a second at once if the first was refused only because of a clock that could be corrected. */
  async #attempt(
    signal: AbortSignal,
  ): Promise<{ readonly end: SessionEnd; readonly livedMs: number | undefined }> {
    const { gatewayClock, log } = this.#options
    const first = await this.#runSession(signal)
    if (first.end.kind !== 'lost' || first.end.gatewayTime === undefined) return first
    const corrected = gatewayClock.correct(first.end.gatewayTime)
    if (!corrected.ok) return { ...first, end: { ...first.end, problem: corrected.error } }
    log.warn("signing by the gateway's clock, not this machine's", { offsetMs: corrected.value.offsetMs })
    return this.#runSession(signal)
  }

  async #runSession(
    signal: AbortSignal,
  ): Promise<{ readonly end: SessionEnd; readonly livedMs: number | undefined }> {
    const { clock, log, dial, onPong, onFrame, onLost } = this.#options
    this.#setStatus('connecting')
    let dialled: Dialled
    try {
      dialled = await dial()
    } catch (error) {
      if (!(error instanceof Error)) throw error
      return { end: failed(error), livedMs: undefined }
    }
    const session = new Session({
      dialled,
      clock,
      log,
      onRegistered: (frame) => this.#registered(frame, dialled),
      ...(onPong && { onPong }),
      onFrame,
    })
    this.#session = session
    const stop = () => session.stop()
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
    const end = await session.ended
    signal.removeEventListener('abort', stop)
    this.#session = undefined
    const { livedMs } = session
    if (livedMs !== undefined) onLost()
    return { end, livedMs }
  }

  #registered(frame: Registered, { session }: Dialled): void {
    const { log, onRegistered } = this.#options
    this.#logged = undefined
    this.#setStatus('connected')
    const { settings, protocol, replaced } = frame
    log.info('session up', { session, heartbeatMs: settings.heartbeatMs, protocol, replaced })
    onRegistered(frame)
  }

  #report(end: Retried, delayMs: number): void {
    const { clock, log } = this.#options
    const problem = this.#problemOf(end)
    this.#setStatus(end.kind === 'quarantined' ? 'quarantined' : 'offline', problem)
    const repeated =
      this.#logged?.code === problem.code && clock.elapsed() - this.#logged.at < REPEAT_AFTER_MS
    if (repeated) return
    this.#logged = { code: problem.code, at: clock.elapsed() }
    const { code, message, why, fix } = problem
    const level = ALARMING.has(code) ? 'error' : 'warn'
    log[level](message, { code, why, fix, nextAttemptMs: Math.round(delayMs) })
  }

  #problemOf(end: Retried): Problem {
    if (end.kind === 'lost') return end.problem
    return end.kind === 'superseded' ? SUPERSEDED : quarantined(this.#options.name)
  }

  #stop<T extends 'stopped' | 'removed'>(outcome: T): T {
    this.#setStatus('stopped')
    return outcome
  }

  #setStatus(session: SupervisorStatus['session'], problem?: Problem): void {
    const before = this.#status
    // Until the gateway lets the node in again it is held, whether the gateway can be reached or not.
    const held = before.session === 'quarantined' && session !== 'connected' && session !== 'stopped'
    // What was wrong stays visible while the next attempt is under way.
    const shown = held || (problem === undefined && session === 'connecting') ? before.problem : problem
    const turned = (session === 'connected') !== (before.session === 'connected')
    this.#status = {
      session: held ? 'quarantined' : session,
      since: turned ? this.#options.clock.now() : before.since,
      ...(shown !== undefined && {
        problem: { code: shown.code, message: shown.message, fix: shown.fix },
      }),
    }
  }
}

function waitAfter(end: Retried, failures: number, livedMs: number | undefined, random: number): Wait {
  switch (end.kind) {
    case 'superseded':
      return { delayMs: supersededWait(random), failures }
    case 'quarantined':
      return { delayMs: quarantineWait(random), failures }
    case 'lost':
      return nextWait(failures, { livedMs, retryAfterMs: end.retryAfterMs }, random)
  }
}

const SUPERSEDED = {
  code: 'E_SESSION_SUPERSEDED',
  message: 'another session of this node took over',
  why: 'another agent runs with a copy of this state directory',
  fix: 'stop one of the two; a cloned machine joins anew from an empty state directory',
} as const
