/** Networks behind nodes: which may be routed into the mesh at all, and which stand in each other's way. Pure. */
import { addressBits, Cidr } from './ids.ts'

/**
 * RFC 1918, RFC 6598, RFC 4193. Public networks are left out: whoever speaks as the gateway could otherwise draw the fleet's traffic with the
 * Internet to one node.
 */
const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7']

/** What all addresses of the network begin with; the families differ in the first character. */
function prefixOf(network: string): string {
  const [address = '', length = ''] = network.split('/')
  return (address.includes(':') ? '6' : '4') + addressBits(address).slice(0, Number(length))
}

export function networksOverlap(a: string, b: string): boolean {
  const [one, other] = [prefixOf(a), prefixOf(b)]
  return one.startsWith(other) || other.startsWith(one)
}

/** Whether every address of `inner` is in `outer`. */
export const isWithin = (inner: string, outer: string): boolean => prefixOf(inner).startsWith(prefixOf(outer))

export const isPrivateNetwork = (network: string): boolean =>
  PRIVATE.some((range) => isWithin(network, range))

/** Whether the address, without a length, is one of the network's. */
export const holdsAddress = (network: string, address: string): boolean =>
  isWithin(`${address}/${address.includes(':') ? 128 : 32}`, network)

/** The one form in which the system's tools print it. */
export function canonicalNetwork(network: Cidr): Cidr {
  const [address = '', length = ''] = network.split('/')
  if (!address.includes(':')) return network
  return Cidr.parse(`${new URL(`http://[${address}]`).hostname.slice(1, -1)}/${length}`)
}
