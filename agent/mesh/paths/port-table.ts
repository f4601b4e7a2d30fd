/**
 * The two rules by which the agent shares WireGuard's UDP port: what comes to that port and begins like a probe, or is an answer of a STUN
 * server, goes to the agent's own socket; what the agent sends leaves from WireGuard's port. NAT and firewalls see one flow. WireGuard
 * keeps its port, and its packets are not touched, whether the agent lives or not. Pure.
 */
import { PROBE_MAGIC } from '../../../crypto/probe.ts'
import type { Family } from '../ip-ranges.ts'
import { STUN_COOKIE } from './stun-message.ts'

export const portTableName = (iface: string): string => `claw_${iface}_paths`

const PROBE_WORD = new DataView(PROBE_MAGIC.buffer).getUint32(0)
/** Behind the UDP header; STUN's cookie is the second word. */
const WORDS = [`@th,64,32 ${hex(PROBE_WORD)}`, `@th,96,32 ${hex(STUN_COOKIE)}`]

/**
 * Replaces the table as one transaction. Incoming rules come after the host's own firewall, so that a port which is open there stays open and
 * one that is not stays closed; outgoing ones before connections are tracked.
 */
export function portTable(iface: string, port: number, sockets: ReadonlyMap<Family, number>): string {
  const table = `inet ${portTableName(iface)}`
  const rules = (make: (family: Family, socket: number) => readonly string[]) =>
    [...sockets].flatMap(([family, socket]) =>
      make(family, socket).map((rule) => `    meta nfproto ${family} ${rule}`),
    )
  return [
    `table ${table}`,
    `delete table ${table}`,
    `table ${table} {`,
    '  chain incoming {',
    '    type filter hook input priority 100; policy accept;',
    // The socket is nobody's to write to but by way of WireGuard's port.
    ...rules((_, socket) => [`udp dport ${socket} drop`]),
    ...rules((_, socket) => WORDS.map((word) => `udp dport ${port} ${word} udp dport set ${socket}`)),
    '  }',
    '  chain outgoing {',
    '    type filter hook output priority raw; policy accept;',
    ...rules((_, socket) => [`udp sport ${socket} udp sport set ${port}`]),
    '  }',
    '}',
    '',
  ].join('\n')
}

export const noPortTable = (iface: string): string => {
  const table = `inet ${portTableName(iface)}`
  return `table ${table}\ndelete table ${table}\n`
}

function hex(word: number): string {
  return `0x${word.toString(16).padStart(8, '0')}`
}
