/** A configuration as wg-quick and the WireGuard apps read it, for a device that has no agent. */
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import type { Ipv4, Ipv6, NodeName, WireGuardKey } from '../../protocol/ids.ts'

/** Home routers forget a silent UDP flow after half a minute, and the nodes cannot call a phone that has moved. */
const KEEPALIVE_SECONDS = 25
/** 1500 less WireGuard over IPv6 and what mobile networks take for themselves: the least that IPv6 allows. */
const MTU = 1280

export interface ExportedNode {
  readonly name: NodeName
  readonly wg: WireGuardKey
  readonly ipv4: Ipv4
  readonly ipv6: Ipv6
  /** `host:port`; WireGuard resolves a name when the configuration is loaded. */
  readonly endpoint: string
}

interface Device {
  readonly name: NodeName
  readonly ipv4: Ipv4
  readonly ipv6: Ipv6
  /** In base64. */
  readonly privateKey: string
}

/** @param device of which only this text will have the private key. */
export function wgQuickConfig(device: Device, nodes: readonly ExportedNode[]): string {
  const { name, ipv4, ipv6, privateKey } = device
  const peers = nodes.map(
    (node) => `
[Peer]
# ${node.name}
PublicKey = ${base64UrlToBase64(node.wg)}
AllowedIPs = ${node.ipv4}/32, ${node.ipv6}/128
Endpoint = ${node.endpoint}
PersistentKeepalive = ${KEEPALIVE_SECONDS}
`,
  )
  return `[Interface]
# ${name}
PrivateKey = ${privateKey}
Address = ${ipv4}/32, ${ipv6}/128
MTU = ${MTU}
${peers.join('')}`
}
