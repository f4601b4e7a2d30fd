/**
 * The names of the mesh on this node: a DNS server on its mesh addresses, and a way by which the machine's own programs come to ask it:
 * systemd-resolved, or lines in /etc/hosts. Whatever of it cannot be had is said once and tried again; the mesh does not depend on it.
 */
import { isDeepStrictEqual } from 'node:util'
import { fleetIpv6Prefix, nodeIpv6 } from '../../protocol/addresses.ts'
import type { FleetId, Ipv4, NodeId, NodeName } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock, Timer } from '../clock.ts'
import type { NamesMode } from '../config/names-mode.ts'
import type { Log } from '../log.ts'
import type { Commands } from '../mesh/exec.ts'
import { contains, ranges } from '../mesh/ip-ranges.ts'
import { SerialTask } from '../mesh/serial-task.ts'
import { answer } from './answer.ts'
import { DnsServer } from './dns-server.ts'
import type { HostsLine } from './hosts-block.ts'
import { HostsFile, type HostsPaths, SYSTEM_HOSTS } from './hosts-file.ts'
import { unhook } from './left-names.ts'
import { fleetDomain, MeshZone, type NamedNode, uniqueByName } from './mesh-zone.ts'
import { type Hook, NamesRecord } from './names-record.ts'
import { isResolvedInUse, routeNames } from './resolved.ts'
import { reverseZones } from './reverse.ts'
import { SourceLimit } from './source-limit.ts'

const DNS_PORT = 53
/** Changes that come together are one change of /etc/hosts, which is written to the disk. The server has them at once. */
const GATHER_MS = 1_000
/** How often what is there is compared with what should be: another program may have written /etc/hosts, or let go of the port. */
const CHECK_MS = 60_000
/** Nodes in /etc/hosts: the C library reads all of it for every name it looks up. The server knows them all. */
const MAX_HOSTS_NODES = 2_000

export interface MeshNamesOptions {
  readonly mode: Exclude<NamesMode, 'off'>
  readonly iface: string
  readonly fleet: { readonly id: FleetId; readonly name: string; readonly ipv4Range: string }
  readonly self: { readonly id: NodeId; readonly name: NodeName; readonly ipv4: Ipv4 }
  readonly stateDirectory: string
  readonly commands: Commands
  readonly clock: Clock
  readonly log: Log
  readonly port?: number
  readonly hostsPaths?: HostsPaths
  readonly isResolvedInUse?: () => boolean
}

export interface NamesStatus {
  /** Every node is NAME. and this. */
  readonly domain: string | null
  /** Whether the server answers on the mesh addresses. */
  readonly server: boolean
  /** How the programs of this machine come to the names. */
  readonly by: Hook | null
  readonly problem: string | null
}

export class MeshNames {
  readonly #options: MeshNamesOptions
  readonly #domain: string | undefined
  readonly #self: NamedNode
  readonly #hosts: HostsFile
  readonly #record: NamesRecord
  readonly #limit: SourceLimit
  readonly #settle: SerialTask
  #peers: readonly MeshPeer[] = []
  /** Undefined until somebody asks after a change. */
  #zone: MeshZone | undefined
  #server: DnsServer | undefined
  /** What has been put into the machine's name resolution, by this run or one that was killed. */
  #hooks: readonly Hook[]
  #by: Hook | undefined
  #link: { readonly ipv6: boolean } | undefined
  /** What systemd-resolved was told is gone with the interface before. */
  #linkIsNew = true
  #status: NamesStatus | undefined
  #timer: Timer | undefined
  #dueAt = Number.POSITIVE_INFINITY
  #stopped = false

  constructor(options: MeshNamesOptions) {
    const { fleet, self, stateDirectory, iface, clock, log, hostsPaths = SYSTEM_HOSTS } = options
    this.#options = options
    this.#domain = fleetDomain(fleet.name)
    this.#self = { ...self, ipv6: nodeIpv6(fleet.id, self.id) }
    this.#hosts = new HostsFile(hostsPaths)
    this.#record = new NamesRecord(stateDirectory, iface)
    this.#hooks = this.#record.read()
    this.#limit = new SourceLimit(clock)
    this.#settle = new SerialTask(
      clock,
      () => this.#bringAbout(),
      (problem) => log.error('the names of the mesh could not be served', { problem }),
    )
  }

  get status(): NamesStatus {
    const server = this.#server !== undefined
    return this.#status ?? { domain: this.#domain ?? null, server, by: null, problem: null }
  }

  /** The peers that have a place in the mesh. The server answers by them from now on. */
  follow(peers: readonly MeshPeer[]): void {
    this.#peers = peers
    this.#zone = undefined
    if (this.#link !== undefined) this.#lookWithin(GATHER_MS)
  }

  /** The interface is up with its addresses, perhaps made anew. */
  interfaceUp(link: { readonly ipv6: boolean }): void {
    this.#link = link
    this.#linkIsNew = true
    void this.#settle.request()
  }

  /** Leaves nothing behind. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#settle.stop()
    await this.#keepOnly(undefined)
    await this.#server?.close()
    this.#server = undefined
  }

  async #bringAbout(): Promise<void> {
    if (this.#link === undefined || this.#stopped) return
    this.#lookWithin(CHECK_MS)
    const problems: string[] = []
    if (this.#domain === undefined) {
      problems.push(`the name of the fleet ${JSON.stringify(this.#options.fleet.name)} is no DNS label`)
    } else {
      await this.#serve(this.#link, problems)
      this.#by =
        (await this.#routeToServer(this.#domain, problems)) ?? this.#writeHosts(this.#domain, problems)
    }
    await this.#keepOnly(this.#by)
    this.#report(problems)
  }

  async #serve({ ipv6 }: { readonly ipv6: boolean }, problems: string[]): Promise<void> {
    if (this.#server !== undefined) return
    const { fleet, port = DNS_PORT, log } = this.#options
    const fleetRanges = ranges(fleet.ipv4Range, fleetIpv6Prefix(fleet.id))
    const own: readonly string[] = [this.#self.ipv4, this.#self.ipv6]
    try {
      this.#server = await DnsServer.listen({
        addresses: ipv6 ? own : [this.#self.ipv4],
        port,
        // Linux takes packets for any of its addresses on any of its interfaces: what does not come from the fleet came another way.
        admits: (address) =>
          contains(fleetRanges, address) && (own.includes(address) || this.#limit.admit(address)),
        answer: (packet, transport) => answer(packet, this.#currentZone(), transport),
        onFailure: (problem) => {
          log.warn('the DNS server of the mesh has failed', { problem })
          this.#server = undefined
          this.#lookWithin(GATHER_MS)
        },
      })
    } catch (error) {
      problems.push(`the DNS server cannot listen: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  #currentZone(): MeshZone {
    const { fleet, clock } = this.#options
    this.#zone ??= new MeshZone(
      { domain: this.#domain ?? '', id: fleet.id, ipv4Range: fleet.ipv4Range },
      this.#nodes(),
      Math.floor(clock.now() / 1000),
    )
    return this.#zone
  }

  #nodes(): [NamedNode, ...NamedNode[]] {
    const { id } = this.#options.fleet
    const peers = this.#peers.map((peer) => ({
      name: peer.name,
      ipv4: peer.ip4,
      ipv6: nodeIpv6(id, peer.id),
    }))
    return [this.#self, ...peers]
  }

  async #routeToServer(domain: string, problems: string[]): Promise<'resolved' | undefined> {
    const { mode, iface, fleet, commands, isResolvedInUse: inUse = isResolvedInUse } = this.#options
    if (mode === 'hosts' || this.#server === undefined) return undefined
    if (!inUse()) {
      if (mode === 'resolved') problems.push('systemd-resolved is not in use on this machine')
      return undefined
    }
    if (this.#by === 'resolved' && !this.#linkIsNew) return 'resolved'
    try {
      this.#note('resolved')
      const domains = [domain, ...reverseZones(fleet.ipv4Range, fleet.id)]
      this.#linkIsNew = false
      await routeNames(commands, { iface, server: this.#self.ipv4, domains })
      return 'resolved'
    } catch (error) {
      problems.push(
        `systemd-resolved was not to be set up: ${error instanceof Error ? error.message : String(error)}`,
      )
      return undefined
    }
  }

  #writeHosts(domain: string, problems: string[]): 'hosts' | undefined {
    const { mode, iface } = this.#options
    if (mode === 'resolved') return undefined
    const nodes = uniqueByName(this.#nodes())
    this.#note('hosts')
    const lines = nodes.slice(0, MAX_HOSTS_NODES).flatMap((node) => this.#linesOf(node, domain))
    const result = this.#hosts.setBlock(iface, lines)
    if (!result.ok) {
      problems.push(result.error)
      return undefined
    }
    if (nodes.length > MAX_HOSTS_NODES)
      problems.push(`only ${MAX_HOSTS_NODES} of ${nodes.length} nodes are in /etc/hosts`)
    return 'hosts'
  }

  #linesOf({ name, ipv4, ipv6 }: NamedNode, domain: string): HostsLine[] {
    const addresses = this.#link?.ipv6 === true ? [ipv4, ipv6] : [ipv4]
    return addresses.map((address) => ({ address, name: `${name}.${domain}` }))
  }

  /** Before it is done: after a crash in between there is something to take back, or nothing. */
  #note(hook: Hook): void {
    if (this.#hooks.includes(hook)) return
    this.#hooks = [...this.#hooks, hook]
    this.#record.write(this.#hooks)
  }

  async #keepOnly(wanted: Hook | undefined): Promise<void> {
    const { iface, commands, log } = this.#options
    const before = this.#hooks
    for (const hook of before) {
      if (hook === wanted) continue
      const problem = await unhook(hook, iface, { commands, hosts: this.#hosts })
      if (problem === undefined) this.#hooks = this.#hooks.filter((other) => other !== hook)
      else log.warn('the names of the mesh could not be taken back', { by: hook, problem })
    }
    if (this.#hooks.length === 0) this.#record.remove()
    else if (this.#hooks !== before) this.#record.write(this.#hooks)
  }

  #report(problems: readonly string[]): void {
    const { log } = this.#options
    const problem = problems.length === 0 ? null : problems.join('; ')
    const before = this.#status
    this.#status = {
      domain: this.#domain ?? null,
      server: this.#server !== undefined,
      by: this.#by ?? null,
      problem,
    }
    if (isDeepStrictEqual(before, this.#status)) return
    const fields = { domain: this.#domain, server: this.#status.server, by: this.#by ?? 'nothing' }
    if (problem === null) log.info('names of the mesh are served', fields)
    else log.warn('names of the mesh are not served as they should be', { ...fields, problem })
  }

  #lookWithin(ms: number): void {
    const { clock } = this.#options
    const at = clock.elapsed() + ms
    if (this.#stopped || (this.#timer !== undefined && this.#dueAt <= at)) return
    this.#timer?.cancel()
    this.#dueAt = at
    this.#timer = clock.after(ms, () => {
      this.#timer = undefined
      void this.#settle.request()
    })
  }
}
