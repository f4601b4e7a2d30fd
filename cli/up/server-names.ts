/** Under which names and addresses a gateway can be reached, which its certificate and its list of origins must both say. */
import { isIP, isIPv4 } from 'node:net'
import { hostname, networkInterfaces } from 'node:os'

const DNS_NAME = /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i
const WILDCARDS: readonly string[] = ['0.0.0.0', '::']

export const isServerName = (text: string): boolean =>
  isIP(text) !== 0 || (DNS_NAME.test(text) && !/^[0-9.]+$/.test(text))

/** The most useful first: what the user named, else what was bound, else this machine's addresses. */
export function serverNames({
  host,
  names,
}: {
  readonly host: string
  readonly names: readonly string[]
}): string[] {
  const bound = WILDCARDS.includes(host) ? interfaceAddresses(host) : [host]
  const all = [...names, ...bound, 'localhost', '127.0.0.1', '::1', hostname()]
  return [...new Set(all.filter(isServerName).map((name) => name.toLowerCase()))]
}

export const originOf = (name: string, port: number): string =>
  new URL(`https://${name.includes(':') ? `[${name}]` : name}:${port}`).origin

/** Link-local addresses are left out: they mean nothing without the name of an interface. */
function interfaceAddresses(wildcard: string): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address)
    .filter((address) => wildcard === '::' || isIPv4(address))
}
