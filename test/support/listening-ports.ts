/** The TCP sockets on which a process listens, as Linux tells it. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** The state of a socket in /proc/net/tcp (proc(5)). */
const LISTEN = '0A'

export interface ListeningPort {
  readonly address: string
  readonly port: number
}

/** IPv6 addresses stay in the kernel's own form. */
export function listeningPorts(pid: number): ListeningPort[] {
  const sockets = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((descriptor) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${descriptor}`))?.[1] ?? []
      } catch {
        // Closed meanwhile.
        return []
      }
    }),
  )
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , state, , , , , , inode]) => state === LISTEN && sockets.has(inode ?? ''))
      .map(([, local = '']) => {
        const [address = '', port = ''] = local.split(':')
        return { address: table === 'tcp' ? ipv4(address) : address, port: Number.parseInt(port, 16) }
      }),
  )
}

/** Little-endian, as the machine has it in memory. */
const ipv4 = (hex: string): string => [...Buffer.from(hex, 'hex')].reverse().join('.')
