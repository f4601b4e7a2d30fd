/**
 * Which of the gateway's addresses this node believes. It routes the fleet's range to the mesh and each peer's address to that peer, so a
 * gateway that may name any would draw this machine's traffic to itself.
 */
import { EXIT, UserError } from '../../host/user-error.ts'
import { type Ipv4Range, ipv4ToNumber, isPrivateRange, parseIpv4Range } from '../../protocol/addresses.ts'
import type { Ipv4 } from '../../protocol/ids.ts'

/** @throws UserError unless it is a private range that holds our own address. */
export function requireFleetRange(cidr: string, own: Ipv4): Ipv4Range {
  const range = parseIpv4Range(cidr)
  if (range === undefined) throw unacceptable(cidr, 'it is not an IPv4 range like 10.100.0.0/16')
  if (!isPrivateRange(range))
    throw unacceptable(cidr, 'it is not within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10')
  if (!isIn(range, own)) throw unacceptable(cidr, `it does not hold this node's own address ${own}`)
  return range
}

export function isIn({ first, last }: Ipv4Range, address: Ipv4): boolean {
  const number = ipv4ToNumber(address)
  return number >= first && number <= last
}

const unacceptable = (cidr: string, why: string): UserError =>
  new UserError({
    code: 'E_FLEET_RANGE',
    message: `the gateway's address range ${JSON.stringify(cidr)} is not one for a mesh`,
    why,
    fix: 'ask whoever runs the gateway for its FLEET_CIDR, then join anew; or run with --no-mesh',
    exitCode: EXIT.badConfig,
  })
