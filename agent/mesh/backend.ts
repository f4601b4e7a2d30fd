/**
 * Makes and removes the WireGuard interface: the kernel's where there is one, else wireguard-go's. Either outlives the agent, and the
 * next agent takes it over as it is, so that a crash or an update of the control plane costs no packet.
 */
import { readFileSync } from 'node:fs'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { WireGuardKey } from '../../protocol/ids.ts'
import { CommandError, type Commands } from './exec.ts'
import { InterfaceRecord } from './interface-record.ts'
import { findLink, type Link } from './link.ts'
import { poll } from './poll.ts'
import { type Privileges, requireTools, requireUserspace, systemPrivileges } from './prerequisites.ts'
import { WireGuardDevice } from './wg.ts'
import type { DeviceState } from './wg-dump.ts'

const START_TIMEOUT_MS = 5_000
const START_TRIES = 2
const END_TIMEOUT_MS = 2_000

export interface WireGuardBackend {
  /** Undefined until the interface is there. */
  readonly kind: 'kernel' | 'userspace' | undefined
  /** @throws UserError if the interface is another's, or cannot be made. */
  ensure(): Promise<'created' | 'adopted'>
  /** Only what `ensure` gave; without it, nothing. */
  remove(): Promise<void>
}

interface Options {
  readonly commands: Commands
  readonly iface: string
  /** The node's own key: an interface that holds it is ours. Undefined if that cannot be known any more. */
  readonly publicKey: WireGuardKey | undefined
  readonly stateDirectory: string
  /** Not the kernel's. An interface of ours that is already there is taken over whatever it is. */
  readonly userspace: boolean
  readonly privileges?: Privileges
}

export class SystemBackend implements WireGuardBackend {
  readonly #options: Options
  readonly #record: InterfaceRecord
  readonly #device: WireGuardDevice
  #kind: 'kernel' | 'userspace' | undefined

  constructor(options: Options) {
    this.#options = options
    this.#record = new InterfaceRecord(options.stateDirectory, options.iface)
    this.#device = new WireGuardDevice(options.commands, options.iface)
  }

  get kind(): 'kernel' | 'userspace' | undefined {
    return this.#kind
  }

  async ensure(): Promise<'created' | 'adopted'> {
    const { commands, iface, privileges = systemPrivileges() } = this.#options
    await requireTools(commands, privileges)
    const link = await findLink(commands, iface)
    if (link !== undefined) {
      await this.#adopt(link)
      return 'adopted'
    }
    // wireguard-go's sockets are files, which network namespaces may share: what answers here without an interface is another's.
    if ((await this.#readIfThere()) !== undefined) throw taken(iface, 'it is in another network namespace')
    this.#record.write({ iface })
    const pid = (await this.#createInKernel()) ? undefined : await this.#startUserspace(privileges)
    this.#kind = pid === undefined ? 'kernel' : 'userspace'
    const made = await findLink(commands, iface)
    this.#record.write({ iface, ...(made && { index: made.index }), ...(pid !== undefined && { pid }) })
    return 'created'
  }

  async remove(): Promise<void> {
    if (this.#kind === undefined) return
    await this.#takeAway(await findLink(this.#options.commands, this.#options.iface))
    this.#kind = undefined
  }

  /**
   * Removes what an agent that was killed has left, with its wireguard-go. To be called by whoever holds the directory's lock: no agent of it runs then.
   * @returns whether the name is free; if not, the interface is another's.
   */
  async removeLeft(): Promise<boolean> {
    const { commands, iface } = this.#options
    const noted = this.#record.read()
    const { index, pid } = noted ?? {}
    const isBeingMade = noted !== undefined && index === undefined && pid === undefined
    const link = await poll(() => findLink(commands, iface), isBeingMade ? END_TIMEOUT_MS : 0)
    if (link !== undefined && !(await this.#isOurs(link))) return false
    // Its interface is still on its way up, or in another network namespace.
    if (link === undefined && pid !== undefined && this.#isWireguardGo(pid)) process.kill(pid)
    await this.#takeAway(link)
    // `wg` itself removes the socket of a wireguard-go that was killed, too, once nobody answers there.
    if (link === undefined && pid !== undefined) await this.#readIfThere()
    return true
  }

  async #takeAway(link: Link | undefined): Promise<void> {
    const { commands, iface } = this.#options
    const pid = this.#record.read()?.pid
    if (link !== undefined) await commands.run('ip', ['link', 'delete', 'dev', iface])
    // Without its interface wireguard-go ends by itself.
    if (pid !== undefined && this.#isWireguardGo(pid)) await this.#awaitEnd(pid)
    this.#record.remove()
  }

  /** A note of this very interface is enough to remove it, whether anything answers for it or not. */
  async #isOurs(link: Link): Promise<boolean> {
    if (this.#record.read()?.index === link.index) return true
    try {
      await this.#adopt(link)
      return true
    } catch (error) {
      if (error instanceof UserError) return false
      throw error
    }
  }

  async #adopt(link: Link): Promise<void> {
    const { iface, publicKey } = this.#options
    const record = this.#record.read()
    const noted = record !== undefined && (record.index === undefined || record.index === link.index)
    // An agent killed while wireguard-go was starting leaves it on its way up.
    const state = await poll(() => this.#readIfThere(), noted ? START_TIMEOUT_MS : 0)
    if (state === undefined) throw taken(iface, 'it is not a WireGuard interface, or nothing answers for it')
    const { publicKey: found } = state
    // A note made before the interface existed proves only that nobody has yet given it another key.
    const isOwnKey = found !== undefined && found === publicKey
    const ours = isOwnKey || (noted && (found === undefined || record.index !== undefined))
    if (!ours) throw taken(iface, "its key is not this node's")
    this.#kind = link.kind === 'wireguard' ? 'kernel' : 'userspace'
  }

  async #createInKernel(): Promise<boolean> {
    const { commands, iface, userspace } = this.#options
    if (userspace) return false
    try {
      await commands.run('ip', ['link', 'add', 'dev', iface, 'type', 'wireguard'])
      return true
    } catch (error) {
      if (error instanceof CommandError) return false
      throw error
    }
  }

  /** @returns its process id. */
  async #startUserspace(privileges: Privileges): Promise<number> {
    const { commands, iface } = this.#options
    await requireUserspace(commands, privileges)
    let ended: AbortSignal | undefined
    // Seldom, on a machine that is busy starting others, it ends at once for no reason that it gives: a second one does not.
    for (let tried = 0; tried < START_TRIES && (ended === undefined || ended.aborted); tried++) {
      const started = await commands.launch('wireguard-go', ['-f', iface])
      ended = started.ended
      this.#record.write({ iface, pid: started.pid })
      if ((await poll(() => this.#readIfThere(), START_TIMEOUT_MS, ended)) !== undefined) return started.pid
      if (this.#isWireguardGo(started.pid)) process.kill(started.pid)
    }
    throw new UserError({
      code: 'E_MESH_START',
      message: `wireguard-go did not bring up the interface ${iface}`,
      why: ended?.aborted ? 'it ended at once' : `it was not ready within ${START_TIMEOUT_MS / 1000} s`,
      fix: `run \`wireguard-go -f ${iface}\` to see what it says, or run with --no-mesh`,
    })
  }

  async #readIfThere(): Promise<DeviceState | undefined> {
    try {
      return await this.#device.read()
    } catch (error) {
      if (error instanceof CommandError) return undefined
      throw error
    }
  }

  async #awaitEnd(pid: number): Promise<void> {
    const ended = () => (this.#isWireguardGo(pid) ? undefined : true)
    if ((await poll(ended, END_TIMEOUT_MS)) === undefined) process.kill(pid, 'SIGKILL')
  }

  /** Process ids are reused: this one must still be the program that was started, for this interface. */
  #isWireguardGo(pid: number): boolean {
    try {
      const [program, ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      return program?.endsWith('wireguard-go') === true && args.includes(this.#options.iface)
    } catch {
      return false
    }
  }
}

const taken = (iface: string, why: string): UserError =>
  new UserError({
    code: 'E_INTERFACE_TAKEN',
    message: `there is already an interface ${iface} that is not this node's`,
    why,
    fix: 'choose another name with --interface, or remove that interface',
    exitCode: EXIT.conflict,
  })
