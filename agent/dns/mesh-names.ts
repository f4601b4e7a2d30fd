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
import { MachineNames } from './machine-names.ts'
import { fleetDomain, MeshZone, type NamedNode, uniqueByName } from './mesh-zone.ts'
import type { Hook } from './names-record.ts'
import { isResolvedInUse } from './resolved.ts'
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

interface Link {
  readonly ipv6: boolean
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
  readonly #machine: MachineNames
  readonly #limit: SourceLimit
  readonly #settle: SerialTask
  #peers: readonly MeshPeer[] = []
  /** Undefined until somebody asks after a change. */
  #zone: MeshZone | undefined
  #server: DnsServer | undefined
  #by: Hook | undefined
  #hostsAreCurrent = false
  #link: Link | undefined
  /** What systemd-resolved was told is gone with the interface before. */
  #linkIsNew = true
  #status: NamesStatus | undefined
  #timer: Timer | undefined
  #dueAt = Number.POSITIVE_INFINITY
  #stopped = false

  constructor(options: MeshNamesOptions) {
    const { fleet, self, stateDirectory, iface, commands, clock, log, hostsPaths = SYSTEM_HOSTS } = options
    this.#options = options
    this.#domain = fleetDomain(fleet.name)
    this.#self = { ...self, ipv6: nodeIpv6(fleet.id, self.id) }
    const hosts = new HostsFile(hostsPaths)
    this.#machine = new MachineNames({ iface, stateDirectory, commands, hosts, log })
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
  interfaceUp(link: Link): void {
    this.#link = link
    this.#linkIsNew = true
    void this.#settle.request()
  }

  /** Leaves nothing behind. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#settle.stop()
    await this.#machine.keepOnly(undefined)
    await this.#server?.close()
    this.#server = undefined
  }

  async #bringAbout(): Promise<void> {
    if (this.#link === undefined || this.#stopped) return
    this.#lookWithin(CHECK_MS)
    const problems: string[] = []
    let wanted: Hook | undefined
    if (this.#domain === undefined) {
      problems.push(`the name of the fleet ${JSON.stringify(this.#options.fleet.name)} is no DNS label`)
    } else {
      await this.#serve(this.#link, problems)
      wanted = await this.#enter(this.#domain, this.#link, problems)
      this.#by = wanted === 'hosts' && !this.#hostsAreCurrent ? undefined : wanted
    }
    await this.#machine.keepOnly(wanted)
    this.#report(problems)
  }

  async #serve({ ipv6 }: Link, problems: string[]): Promise<void> {
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

  /** By systemd-resolved where it is asked, else by /etc/hosts. What was there before and cannot be renewed stays. */
  async #enter(domain: string, { ipv6 }: Link, problems: string[]): Promise<Hook | undefined> {
    const { mode } = this.#options
    if (mode !== 'hosts' && (await this.#routeToServer(domain, problems))) return 'resolved'
    if (mode === 'resolved') return undefined
    const nodes = uniqueByName(this.#nodes())
    const lines = nodes.slice(0, MAX_HOSTS_NODES).flatMap((node) => linesOf(node, domain, ipv6))
    const problem = this.#machine.writeHosts(lines)
    if (problem !== undefined) problems.push(problem)
    else if (nodes.length > MAX_HOSTS_NODES)
      problems.push(`only ${MAX_HOSTS_NODES} of ${nodes.length} nodes are in /etc/hosts`)
    this.#hostsAreCurrent = problem === undefined
    return 'hosts'
  }

  async #routeToServer(domain: string, problems: string[]): Promise<boolean> {
    const { mode, fleet, isResolvedInUse: inUse = isResolvedInUse } = this.#options
    if (this.#server === undefined) return false
    if (!inUse()) {
      if (mode === 'resolved') problems.push('systemd-resolved is not in use on this machine')
      return false
    }
    if (this.#by === 'resolved' && !this.#linkIsNew) return true
    this.#linkIsNew = false
    const domains = [domain, ...reverseZones(fleet.ipv4Range, fleet.id)]
    const problem = await this.#machine.routeToServer(this.#self.ipv4, domains)
    if (problem !== undefined) problems.push(problem)
    return problem === undefined
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

const linesOf = ({ name, ipv4, ipv6 }: NamedNode, domain: string, hasIpv6: boolean): HostsLine[] =>
  (hasIpv6 ? [ipv4, ipv6] : [ipv4]).map((address) => ({ address, name: `${name}.${domain}` }))
