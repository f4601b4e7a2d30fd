/** Questions about addresses and ranges, answered by Node's own BlockList. */
import { BlockList, isIPv4 } from 'node:net'

export interface Cidr {
  readonly address: string
  readonly prefix: number
}

export type Family = 'ipv4' | 'ipv6'

export const familyOf = (address: string): Family => (isIPv4(address) ? 'ipv4' : 'ipv6')

/** An address without a length is a range of one, as `ip` prints it. */
export function parseCidr(text: string): Cidr {
  const [address = '', prefix] = text.split('/')
  return { address, prefix: prefix === undefined ? (isIPv4(address) ? 32 : 128) : Number(prefix) }
}

export function ranges(...cidrs: readonly (string | Cidr)[]): BlockList {
  const list = new BlockList()
  for (const cidr of cidrs) {
    const { address, prefix } = typeof cidr === 'string' ? parseCidr(cidr) : cidr
    list.addSubnet(address, prefix, familyOf(address))
  }
  return list
}

export const contains = (list: BlockList, address: string): boolean => list.check(address, familyOf(address))

export function overlap(a: Cidr, b: Cidr): boolean {
  if (familyOf(a.address) !== familyOf(b.address)) return false
  const [wider, narrower] = a.prefix <= b.prefix ? [a, b] : [b, a]
  return contains(ranges(wider), narrower.address)
}
