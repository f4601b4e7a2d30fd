/**
 * Mesh addresses as values: IPv4 ranges and the derived IPv6 (RFC 4193). Pure; who holds which address is the Fleet's business.
 */
import { fromBase32 } from './base32.ts'
import { type FleetId, Ipv4, Ipv6, type NodeId } from './ids.ts'

/** An IPv4 range. `first` and `last` are the assignable hosts: network and broadcast address are left out. */
export interface Ipv4Range {
  readonly cidr: string
  readonly first: number
  readonly last: number
}

/** Parses `a.b.c.d/len` with len 8 to 30 and no host bits set; undefined if it is anything else. */
export function parseIpv4Range(cidr: string): Ipv4Range | undefined {
  const [base, length, ...rest] = cidr.split('/')
  if (base === undefined || length === undefined || rest.length > 0 || !/^[0-9]{1,2}$/.test(length))
    return undefined
  const prefix = Number(length)
  const address = Ipv4.safeParse(base)
  if (!address.success || prefix < 8 || prefix > 30) return undefined
  const network = ipv4ToNumber(address.data)
  const size = 2 ** (32 - prefix)
  if (network % size !== 0) return undefined
  return { cidr, first: network + 1, last: network + size - 2 }
}

const PRIVATE_RANGES = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10']

/** Inside RFC 1918, or RFC 6598's shared space. */
export const isPrivateRange = ({ first, last }: Ipv4Range): boolean =>
  PRIVATE_RANGES.map(parseIpv4Range).some(
    (range) => range !== undefined && first >= range.first && last <= range.last,
  )

export const ipv4ToNumber = (address: Ipv4): number =>
  address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)

export const numberToIpv4 = (value: number): Ipv4 =>
  Ipv4.parse([24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.'))

/** The fleet's unique-local /48: fd, then the first 40 bits of the fleet's random id. */
export const fleetIpv6Prefix = (fleet: FleetId): string => `${groups(prefixBytes(fleet)).join(':')}::/48`

/** A node's /128 inside that /48: its low 80 bits are the first 80 of the node id, so no lease is needed. */
export const nodeIpv6 = (fleet: FleetId, node: NodeId): Ipv6 =>
  Ipv6.parse(compress(groups(Uint8Array.of(...prefixBytes(fleet), ...fromBase32(node).subarray(0, 10)))))

const prefixBytes = (fleet: FleetId): Uint8Array => Uint8Array.of(0xfd, ...fromBase32(fleet).subarray(0, 5))

function groups(bytes: Uint8Array): string[] {
  const result: string[] = []
  for (let i = 0; i < bytes.length; i += 2)
    result.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16))
  return result
}

/** RFC 5952, section 4.2: the first longest run of two or more zero groups becomes `::`. */
function compress(parts: string[]): string {
  let best = { start: 0, length: 0 }
  for (let start = 0; start < parts.length; start++) {
    let length = 0
    while (parts[start + length] === '0') length++
    if (length > best.length) best = { start, length }
  }
  if (best.length < 2) return parts.join(':')
  return `${parts.slice(0, best.start).join(':')}::${parts.slice(best.start + best.length).join(':')}`
}
