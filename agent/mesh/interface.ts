/** The mesh's interface with everything on it: key, port, addresses, MTU and the fleet's routes. */
import * as z from 'zod'
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { Ipv4, Ipv6, WireGuardKey } from '../../protocol/ids.ts'
import type { WireGuardBackend } from './backend.ts'
import { CommandError, type Commands } from './exec.ts'
import { parseIpJson } from './link.ts'
import { findConflict, readRoutes, routeConflict } from './routes.ts'
import type { WireGuardDevice } from './wg.ts'

/** Ethernet's 1500 less WireGuard over IPv6: 40 + 8 + 32. */
export const INTERFACE_MTU = 1420

interface Options {
  readonly commands: Commands
  readonly backend: WireGuardBackend
  readonly device: WireGuardDevice
  readonly keys: { readonly privateKey: SecretBytes; readonly publicKey: WireGuardKey }
  readonly listenPort: number
  readonly ipv4: Ipv4
  readonly ipv6: Ipv6
  /** The fleet's ranges, which are routed to the interface. */
  readonly ipv4Range: string
  readonly ipv6Range: string
}

export class MeshInterface {
  readonly #options: Options
  #ipv6 = true

  constructor(options: Options) {
    this.#options = options
  }

  get name(): string {
    return this.#options.device.name
  }

  /** Some hosts, containers above all, have IPv6 switched off: the mesh then does without. */
  get hasIpv6(): boolean {
    return this.#ipv6
  }

  /**
   * Idempotent: what is as it should be is not touched, and traffic through it goes on.
   * @throws UserError if something of the machine's is in the way; nothing is changed then.
   */
  async up(): Promise<'created' | 'adopted'> {
    const { commands, backend, ipv4Range, ipv6Range } = this.#options
    const fleet = [ipv4Range, ipv6Range]
    const conflict = findConflict(await readRoutes(commands), fleet, this.name)
    if (conflict !== undefined) throw routeConflict(conflict, fleet)
    const origin = await backend.ensure()
    try {
      await this.#configureDevice()
      await this.#configureNetwork()
    } catch (error) {
      if (origin === 'created') await backend.remove()
      throw error
    }
    return origin
  }

  /** Addresses and routes go with the interface. */
  down(): Promise<void> {
    return this.#options.backend.remove()
  }

  async #configureDevice(): Promise<void> {
    const { device, keys, listenPort } = this.#options
    const state = await device.read()
    if (state.publicKey === keys.publicKey && state.listenPort === listenPort) return
    if (state.listenPort === listenPort) return device.setPrivateKey(keys.privateKey)
    await withPort(listenPort, () => device.configure(keys.privateKey, listenPort))
  }

  async #configureNetwork(): Promise<void> {
    const { ipv4, ipv6, ipv4Range, ipv6Range, listenPort } = this.#options
    await this.#removeOtherAddresses([ipv4, ipv6])
    await this.#ip('address', 'replace', `${ipv4}/32`, 'dev', this.name)
    await this.#ip('link', 'set', 'dev', this.name, 'mtu', String(INTERFACE_MTU))
    await withPort(listenPort, () => this.#ip('link', 'set', 'dev', this.name, 'up'))
    await this.#ip('route', 'replace', ipv4Range, 'dev', this.name, 'src', ipv4)
    try {
      await this.#ip('-6', 'address', 'replace', `${ipv6}/128`, 'dev', this.name, 'nodad')
      await this.#ip('-6', 'route', 'replace', ipv6Range, 'dev', this.name)
      this.#ipv6 = true
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      this.#ipv6 = false
    }
  }

  /** An interface taken over may still have the address of an earlier lease. */
  async #removeOtherAddresses(wanted: readonly string[]): Promise<void> {
    const output = await this.#ip('-json', 'address', 'show', 'dev', this.name, 'scope', 'global')
    const present = Interfaces.parse(parseIpJson(output)).flatMap(({ addr_info }) => addr_info)
    for (const { local, prefixlen } of present) {
      if (local === undefined || wanted.includes(local)) continue
      await this.#ip('address', 'delete', `${local}/${prefixlen}`, 'dev', this.name)
    }
  }

  #ip(...args: readonly string[]): Promise<Uint8Array> {
    return this.#options.commands.run('ip', args)
  }
}

const Interfaces = z.array(
  z.object({
    addr_info: z.array(z.object({ local: z.string().optional(), prefixlen: z.int().optional() })).default([]),
  }),
)

async function withPort(port: number, action: () => Promise<unknown>): Promise<void> {
  try {
    await action()
  } catch (error) {
    if (!(error instanceof CommandError && error.detail.includes('in use'))) throw error
    throw new UserError({
      code: 'E_PORT_IN_USE',
      message: `UDP port ${port} is in use`,
      why: 'another WireGuard interface or program listens on it',
      fix: 'choose another one with --listen-port',
      exitCode: EXIT.conflict,
    })
  }
}
