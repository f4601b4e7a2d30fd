/** Networks in CIDR form, compared by their bits; and which of them may be routed into the mesh at all. */
import { addressBits, Cidr } from './ids.ts'

/**
 * RFC 1918, RFC 6598, RFC 4193. Public networks are left out: whoever speaks as the gateway could otherwise draw the fleet's traffic with the
 * Internet to one node.
 */
const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7']

/** Whether every address of `inner` is in `outer`. */
export const contains = (outer: string, inner: string): boolean => prefixOf(inner).startsWith(prefixOf(outer))

/** Whether they share an address: then one of them is in the other. */
export const overlap = (a: string, b: string): boolean => contains(a, b) || contains(b, a)

export const isPrivateNetwork = (network: string): boolean =>
  PRIVATE.some((range) => contains(range, network))

/** Whether the address, without a length, is one of the network's. */
export const holdsAddress = (network: string, address: string): boolean =>
  contains(network, `${address}/${isIpv6(address) ? 128 : 32}`)

/** The one form in which the system's tools print it. */
export function canonicalNetwork(network: Cidr): Cidr {
  const [address = '', length = ''] = network.split('/')
  if (!isIpv6(network)) return network
  return Cidr.parse(`${new URL(`http://[${address}]`).hostname.slice(1, -1)}/${length}`)
}

const isIpv6 = (text: string): boolean => text.includes(':')

/** What all of its addresses begin with; the families differ in the first character. */
function prefixOf(network: string): string {
  const [address = '', length] = network.split('/')
  return (isIpv6(network) ? '6' : '4') + addressBits(address).slice(0, Number(length))
}
