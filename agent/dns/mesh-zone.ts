/**
 * The names of a fleet as DNS zones: `NODE.FLEET.internal`, and the addresses back to them. ICANN has set `internal` aside for private use
 * (SAC113), so no name out there can be shadowed. Pure; made anew when the map changes.
 */
import { type FleetId, type Ipv4, type Ipv6, NodeName } from '../../protocol/ids.ts'
import { ipv4Bytes, ipv6Bytes, reverseIpv4, reverseIpv6, reverseZones } from './reverse.ts'
import { encodeName, type ResourceRecord, TYPE } from './wire.ts'

/**
 * A removed node's name should be gone for every program soon, and asking again costs a few microseconds on the same machine; this is
 * enough that one connection's lookups are one.
 */
const TTL_SECONDS = 5
/** Of a SOA that nobody transfers from: what RFC 1912, section 2.2 calls reasonable. */
const TRANSFER = { refresh: 3_600, retry: 600, expire: 1_209_600 } as const

/** Undefined if the fleet's name is no DNS label. It is the gateway's word, and ends in this machine's own configuration. */
export function fleetDomain(fleetName: string): string | undefined {
  const label = NodeName.safeParse(fleetName)
  return label.success ? `${label.data}.internal` : undefined
}

export interface NamedNode {
  readonly name: NodeName
  readonly ipv4: Ipv4
  readonly ipv6: Ipv6
}

interface Fleet {
  /** As `fleetDomain` gives it. */
  readonly domain: string
  readonly id: FleetId
  readonly ipv4Range: string
}

type Found = Omit<ResourceRecord, 'below'>

export type Lookup =
  | { readonly kind: 'outside' }
  | {
      readonly kind: 'inside'
      /** False if there is no such name, and none below it. */
      readonly exists: boolean
      readonly records: readonly Found[]
      readonly soa: Found
      /** How many labels the name has below the top of its zone. */
      readonly below: number
    }

export class MeshZone {
  readonly #soa: Found
  /** Keys are names with the last label first, so that everything below a name begins with it. */
  readonly #tops: ReadonlySet<string>
  readonly #records = new Map<string, Found[]>()
  readonly #sorted: readonly string[]

  /** @param nodes of which the first is this one. Of two with one name the first has it, and the other none. */
  constructor({ domain, id, ipv4Range }: Fleet, nodes: readonly [NamedNode, ...NamedNode[]], serial: number) {
    const server = encodeName(`${nodes[0].name}.${domain}`)
    this.#soa = found(TYPE.SOA, soaData(server, domain, serial))
    const tops = [domain, ...reverseZones(ipv4Range, id)].map(keyOf)
    this.#tops = new Set(tops)
    for (const top of tops) this.#records.set(top, [this.#soa, found(TYPE.NS, server)])
    for (const { name, ipv4, ipv6 } of uniqueByName(nodes)) {
      const full = `${name}.${domain}`
      this.#records.set(keyOf(full), [found(TYPE.A, ipv4Bytes(ipv4)), found(TYPE.AAAA, ipv6Bytes(ipv6))])
      const pointer = [found(TYPE.PTR, encodeName(full))]
      for (const reverse of [reverseIpv4(ipv4), reverseIpv6(ipv6)]) this.#records.set(keyOf(reverse), pointer)
    }
    this.#sorted = [...this.#records.keys()].sort()
  }

  /** @param labels in lower case, the first one first. */
  lookup(labels: readonly string[], type: number): Lookup {
    const top = this.#topOf(labels)
    if (top === undefined) return { kind: 'outside' }
    const key = [...labels].reverse().join('.')
    const all = this.#records.get(key)
    return {
      kind: 'inside',
      // A name that only has names below it exists: a resolver that is told otherwise asks for none of those (RFC 8020).
      exists: all !== undefined || this.#hasBelow(key),
      // Any one set of records will do for ANY (RFC 8482, section 4.1), and keeps the answer small.
      records: all?.filter((record) => record.type === (type === TYPE.ANY ? all[0]?.type : type)) ?? [],
      soa: this.#soa,
      below: labels.length - top,
    }
  }

  /** The number of labels of the zone's own name. */
  #topOf(labels: readonly string[]): number | undefined {
    let key = ''
    for (const [index, label] of [...labels].reverse().entries()) {
      key = index === 0 ? label : `${key}.${label}`
      if (this.#tops.has(key)) return index + 1
    }
    return undefined
  }

  #hasBelow(key: string): boolean {
    const prefix = `${key}.`
    let [low, high] = [0, this.#sorted.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#sorted[middle] ?? '') < prefix) low = middle + 1
      else high = middle
    }
    return this.#sorted[low]?.startsWith(prefix) === true
  }
}

export function uniqueByName(nodes: readonly NamedNode[]): NamedNode[] {
  const names = new Set<NodeName>()
  return nodes.filter(({ name }) => !names.has(name) && names.add(name))
}

const found = (type: number, data: Uint8Array): Found => ({ type, ttl: TTL_SECONDS, data })

const keyOf = (name: string): string => name.split('.').reverse().join('.')

function soaData(server: Uint8Array, domain: string, serial: number): Uint8Array {
  const numbers = Buffer.alloc(20)
  const { refresh, retry, expire } = TRANSFER
  for (const [index, value] of [serial >>> 0, refresh, retry, expire, TTL_SECONDS].entries())
    numbers.writeUInt32BE(value, 4 * index)
  return Buffer.concat([server, encodeName(`hostmaster.${domain}`), numbers])
}
