/**
 * systemd-resolved: asks this node's server for the fleet's names, and for nothing else. What is set belongs to the interface, and goes
 * with it; /etc/resolv.conf is not touched.
 */
import { readFileSync } from 'node:fs'
import type { Commands } from '../mesh/exec.ts'

interface LinkNames {
  readonly iface: string
  readonly server: string
  readonly domains: readonly string[]
}

/**
 * The server comes last: with it and without the domains every name of the machine would be asked of it. There are no signatures and no
 * TLS between two processes of one machine, whatever the machine asks of other servers.
 */
export async function routeNames(commands: Commands, { iface, server, domains }: LinkNames): Promise<void> {
  const set = (...args: readonly string[]) => commands.run('resolvectl', args)
  await set('domain', iface, ...domains.map((domain) => `~${domain}`))
  await set('default-route', iface, 'no')
  await set('dnssec', iface, 'no')
  await set('dnsovertls', iface, 'no')
  await set('llmnr', iface, 'no')
  await set('mdns', iface, 'no')
  await set('dns', iface, server)
}

export async function revertNames(commands: Commands, iface: string): Promise<void> {
  await commands.run('resolvectl', ['revert', iface])
}

/** Whether this machine's programs ask it: it may run and not be asked. */
export function isResolvedInUse(
  read: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): boolean {
  const lines = (path: string): string[] => {
    try {
      return read(path).split('\n')
    } catch {
      return []
    }
  }
  // Its two local addresses, and its module for the C library.
  const asked = lines('/etc/resolv.conf').some((line) => /^nameserver\s+127\.0\.0\.5[34]\s*$/.test(line))
  return asked || lines('/etc/nsswitch.conf').some((line) => /^hosts:(?:.*\s)?resolve(?:\s|$)/.test(line))
}
