/** A zone of a few nodes for the tests of the DNS server. */
import { MeshZone, type NamedNode } from '../../agent/dns/mesh-zone.ts'
import { nodeIpv6 } from '../../protocol/addresses.ts'
import { Ipv4, NodeName } from '../../protocol/ids.ts'
import { FLEET, nodeId } from './mesh-node.ts'

export const DOMAIN = 'lab.internal'

export const named = (name: string, number: number, ipv4 = `10.100.0.${number}`): NamedNode => ({
  name: NodeName.parse(name),
  ipv4: Ipv4.parse(ipv4),
  ipv6: nodeIpv6(FLEET, nodeId(number)),
})

export const zoneOf = (
  nodes: readonly [NamedNode, ...NamedNode[]],
  { domain = DOMAIN, ipv4Range = '10.100.0.0/16' } = {},
): MeshZone => new MeshZone({ domain, id: FLEET, ipv4Range }, nodes, 7)
