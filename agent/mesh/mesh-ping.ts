/** Echoes to a peer through the mesh, by the system's own `ping`. */
import type { Ipv4 } from '../../protocol/ids.ts'
import type { MeshPing } from '../../protocol/mesh-report.ts'
import { CommandError, type Commands } from './exec.ts'

const ECHOES = 3
const INTERVAL_SECONDS = 0.2
/** A first packet may have to wait for a handshake, which WireGuard tries again after 5 s; this is under that on purpose. */
const WAIT_SECONDS = 3
/** Its status 1 means that nothing came back, which is an answer; what it prints is then needed all the same. */
const SCRIPT = 'ping "$@"; [ $? -le 1 ]'

type Echoes = Pick<MeshPing, 'sent' | 'received' | 'rttMs'>

export async function pingThrough(
  commands: Commands,
  iface: string,
  address: Ipv4,
): Promise<Echoes | 'no_ping_program' | 'ping_failed'> {
  const options = ['-n', '-q', '-c', ECHOES, '-i', INTERVAL_SECONDS, '-W', WAIT_SECONDS, '-I', iface]
  try {
    const output = await commands.run('sh', ['-c', SCRIPT, 'ping', ...options.map(String), address])
    return parsePing(Buffer.from(output).toString('latin1')) ?? 'ping_failed'
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    // By a shell, whose own words these are.
    return /not found/.test(error.detail) ? 'no_ping_program' : 'ping_failed'
  }
}

/** The last lines that iputils and busybox print. Undefined if they are not there. */
export function parsePing(text: string): Echoes | undefined {
  const [, sent, received] = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(text) ?? []
  if (sent === undefined || received === undefined) return undefined
  const [, min, avg, max] = /= ([\d.]+)\/([\d.]+)\/([\d.]+)/.exec(text) ?? []
  const rttMs = max === undefined ? undefined : { min: Number(min), avg: Number(avg), max: Number(max) }
  return { sent: Number(sent), received: Number(received), ...(rttMs && { rttMs }) }
}
