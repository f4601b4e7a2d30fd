/** Networks in CIDR form, compared by their bits. */
import { addressBits, type Cidr } from './ids.ts'

/** Whether every address of `inner` is in `outer`. */
export const contains = (outer: Cidr, inner: Cidr): boolean =>
  isIpv6(outer) === isIpv6(inner) && prefixBits(inner).startsWith(prefixBits(outer))

/** Whether they share an address: then one of them is in the other. */
export const overlap = (a: Cidr, b: Cidr): boolean => contains(a, b) || contains(b, a)

const isIpv6 = (network: Cidr): boolean => network.includes(':')

function prefixBits(network: Cidr): string {
  const [address = '', length] = network.split('/')
  return addressBits(address).slice(0, Number(length))
}
