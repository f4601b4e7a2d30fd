/** Endpoints taken apart and put together, in the one form in which `wg` prints them, so that equal endpoints are equal text. */
import { isIPv6 } from 'node:net'
import { Endpoint } from '../../protocol/ids.ts'

interface Parts {
  readonly address: string
  readonly port: number
}

export function splitEndpoint(endpoint: Endpoint): Parts {
  const colon = endpoint.lastIndexOf(':')
  return {
    address: endpoint.slice(0, colon).replace(/^\[|\]$/g, ''),
    port: Number(endpoint.slice(colon + 1)),
  }
}

/** An IPv4 address in IPv6's clothes, as sockets of both families see it, is one. */
export function formatEndpoint(address: string, port: number): Endpoint {
  const plain = /^::ffff:([0-9.]+)$/i.exec(address)?.[1] ?? address
  return Endpoint.parse(isIPv6(plain) ? `${canonicalIpv6(plain)}:${port}` : `${plain}:${port}`)
}

export function canonicalEndpoint(endpoint: Endpoint): Endpoint {
  const { address, port } = splitEndpoint(endpoint)
  return formatEndpoint(address, port)
}

const canonicalIpv6 = (address: string): string => new URL(`http://[${address}]`).hostname
