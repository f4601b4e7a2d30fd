/** The names under which an address is looked up (RFC 1035, section 3.5; RFC 3596, section 2.5), and the zones that hold a fleet's. */
import { fleetIpv6Prefix, ipv4ToNumber, parseIpv4Range } from '../../protocol/addresses.ts'
import { type FleetId, Ipv4, Ipv6 } from '../../protocol/ids.ts'

export const ipv4Bytes = (address: Ipv4): Uint8Array => Uint8Array.from(address.split('.').map(Number))

/** @param address in the form of RFC 5952. */
export function ipv6Bytes(address: Ipv6): Uint8Array {
  const [head = '', tail] = address.split('::')
  const groups = (text: string) => text.split(':').filter((group) => group !== '')
  const [before, after] = [groups(head), groups(tail ?? '')]
  const zeros = Array<string>(8 - before.length - after.length).fill('0')
  return Uint8Array.from(
    [...before, ...zeros, ...after].flatMap((group) => {
      const value = Number.parseInt(group, 16)
      return [value >> 8, value & 255]
    }),
  )
}

export const reverseIpv4 = (address: Ipv4): string => reverseOctets(ipv4Bytes(address))
export const reverseIpv6 = (address: Ipv6): string => reverseNibbles(ipv6Bytes(address))

/**
 * DNS cuts IPv4 at whole octets only, so a range like /12 takes several zones, 128 at most. Each holds addresses of the range alone:
 * what is outside is not ours to answer for.
 */
export function reverseZones(ipv4Range: string, fleet: FleetId): string[] {
  return [...reverseZonesIpv4(ipv4Range), reverseZoneIpv6(fleet)]
}

function reverseZonesIpv4(cidr: string): string[] {
  const range = parseIpv4Range(cidr)
  if (range === undefined) throw new Error(`${cidr} is no range of a fleet`)
  const [network = '', length] = cidr.split('/')
  const prefix = Number(length)
  const octets = Math.ceil(prefix / 8)
  const count = 2 ** (8 * octets - prefix)
  const first = ipv4ToNumber(Ipv4.parse(network))
  const size = 2 ** (32 - 8 * octets)
  return Array.from({ length: count }, (_, index) => {
    const base = first + index * size
    const bytes = [24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256)
    return reverseOctets(Uint8Array.from(bytes.slice(0, octets)))
  })
}

const PREFIX_BYTES = 6

function reverseZoneIpv6(fleet: FleetId): string {
  const [prefix = ''] = fleetIpv6Prefix(fleet).split('/')
  return reverseNibbles(ipv6Bytes(Ipv6.parse(prefix)).subarray(0, PREFIX_BYTES))
}

const reverseOctets = (bytes: Uint8Array): string => [...[...bytes].reverse(), 'in-addr', 'arpa'].join('.')

const reverseNibbles = (bytes: Uint8Array): string =>
  [...[...Buffer.from(bytes).toString('hex')].reverse(), 'ip6', 'arpa'].join('.')
