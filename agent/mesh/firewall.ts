/**
 * Keeps our own nftables table as the rules want it. It is replaced in one transaction when its rules change, and given or taken a peer's
 * addresses when only peers do; nobody else's table is touched. It outlives the agent as the interface does.
 */
import { utf8 } from '../../crypto/bytes.ts'
import type { Clock } from '../clock.ts'
import { CommandError, type Commands } from './exec.ts'
import {
  changeScript,
  compileTable,
  type FirewallPlan,
  type FirewallTable,
  removeScript,
  replaceScript,
} from './firewall-script.ts'

/** Other programs flush all there is when they start (firewalld, `nft -f` of a distribution): then ours has to come back. */
const LOOK_EVERY_MS = 5_000

interface Options {
  readonly commands: Commands
  readonly iface: string
  readonly clock: Clock
}

export class Firewall {
  readonly #options: Options
  /** Undefined where nothing is known of what is there. */
  #applied: FirewallTable | undefined
  #lookedAt = Number.NEGATIVE_INFINITY
  /** An agent that has found the interface to be another's has no table either. */
  #isOurs = false

  constructor(options: Options) {
    this.#options = options
  }

  /** @returns why the rules are not in force; undefined if they are. */
  async follow(plan: FirewallPlan): Promise<string | undefined> {
    const table = compileTable(plan)
    this.#isOurs = true
    try {
      if (!(await this.#isThere())) this.#applied = undefined
      await this.#apply(table)
      return undefined
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      this.#applied = undefined
      return error.failure === 'missing' ? '`nft` is not installed (package nftables)' : error.message
    }
  }

  async remove(): Promise<void> {
    if (!this.#isOurs) return
    this.#applied = undefined
    try {
      await this.#nft(removeScript(this.#options.iface))
    } catch (error) {
      // Where it cannot be made there is none.
      if (!(error instanceof CommandError)) throw error
    }
  }

  async #apply(table: FirewallTable): Promise<void> {
    const before = this.#applied
    if (before?.body !== table.body) await this.#nft(replaceScript(table))
    else {
      const script = changeScript(before, table)
      // Somebody may have taken it away since the last look.
      if (script !== undefined) await this.#nft(script).catch(() => this.#nft(replaceScript(table)))
    }
    this.#applied = table
  }

  async #isThere(): Promise<boolean> {
    const { commands, clock } = this.#options
    const now = clock.elapsed()
    if (this.#applied === undefined) return false
    if (now - this.#lookedAt < LOOK_EVERY_MS) return true
    const output = await commands.run('nft', ['list', 'tables', 'inet'])
    this.#lookedAt = now
    return Buffer.from(output).toString('latin1').split('\n').includes(`table inet ${this.#applied.name}`)
  }

  async #nft(script: string): Promise<void> {
    await this.#options.commands.run('nft', ['-f', '/dev/stdin'], utf8(script))
    this.#lookedAt = this.#options.clock.elapsed()
  }
}
