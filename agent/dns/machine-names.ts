/** This node's part in the machine's own name resolution. Each step is noted before it is taken, so that a crash leaves nothing unknown. */
import type { Log } from '../log.ts'
import type { Commands } from '../mesh/exec.ts'
import type { HostsLine } from './hosts-block.ts'
import type { HostsFile } from './hosts-file.ts'
import { type Hook, NamesRecord } from './names-record.ts'
import { revertNames, routeNames } from './resolved.ts'

interface Options {
  readonly iface: string
  readonly stateDirectory: string
  readonly commands: Commands
  readonly hosts: HostsFile
  readonly log: Log
}

export class MachineNames {
  readonly #options: Options
  readonly #record: NamesRecord
  /** Of this run, or of one that was killed. */
  #hooks: readonly Hook[]
  #lastProblem: string | undefined

  constructor(options: Options) {
    this.#options = options
    this.#record = new NamesRecord(options.stateDirectory, options.iface)
    this.#hooks = this.#record.read()
  }

  /** @returns why it is not so. */
  async routeToServer(server: string, domains: readonly string[]): Promise<string | undefined> {
    const { commands, iface } = this.#options
    this.#note('resolved')
    try {
      await routeNames(commands, { iface, server, domains })
      return undefined
    } catch (error) {
      // A half of it would send names to a server that is not asked for any other.
      await revertNames(commands, iface).catch(() => undefined)
      this.#keep(this.#hooks.filter((hook) => hook !== 'resolved'))
      return `systemd-resolved cannot be set up: ${messageOf(error)}`
    }
  }

  /** @returns why it is not so; a block that is there stays as it is. */
  writeHosts(lines: readonly HostsLine[]): string | undefined {
    const { hosts, iface } = this.#options
    const before = this.#hooks
    this.#note('hosts')
    const result = hosts.setBlock(iface, lines)
    if (result.ok) return undefined
    this.#keep(before)
    return result.error
  }

  /** What cannot be taken back stays noted, and is tried again. */
  async keepOnly(wanted: Hook | undefined): Promise<void> {
    const { iface, log } = this.#options
    const left: Hook[] = []
    let problems = ''
    for (const hook of this.#hooks) {
      const problem = hook === wanted ? undefined : await unhook(hook, this.#options)
      if (hook === wanted || problem !== undefined) left.push(hook)
      if (problem !== undefined) problems += `${problem}. `
    }
    this.#keep(left)
    if (problems !== '' && problems !== this.#lastProblem)
      log.warn('names of the mesh could not be taken back', { interface: iface, problem: problems.trim() })
    this.#lastProblem = problems
  }

  #note(hook: Hook): void {
    if (!this.#hooks.includes(hook)) this.#keep([...this.#hooks, hook])
  }

  #keep(hooks: readonly Hook[]): void {
    const before = this.#hooks
    this.#hooks = hooks
    if (hooks.length === 0) this.#record.remove()
    else if (String(hooks) !== String(before)) this.#record.write(hooks)
  }
}

/** @returns why it is still there. */
async function unhook(
  hook: Hook,
  { iface, commands, hosts }: Pick<Options, 'iface' | 'commands' | 'hosts'>,
): Promise<string | undefined> {
  if (hook === 'hosts') {
    const result = hosts.setBlock(iface, [])
    return result.ok ? undefined : result.error
  }
  try {
    await revertNames(commands, iface)
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
