/** A real STUN server, coturn's, on a machine of the lab. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Host } from './netns.ts'

export const STUN_PORT = 3478

/** Listens on each of the addresses, and ends with the machine. */
export async function startStunServer(host: Host, addresses: readonly string[]): Promise<void> {
  const listen = addresses.flatMap((address) => ['-L', address])
  const options = [
    '-n',
    '--stun-only',
    '--no-tls',
    '--no-dtls',
    '--no-cli',
    '--log-file=stdout',
    '--pidfile=',
  ]
  const server = host.spawn('turnserver', [...options, '-p', String(STUN_PORT), ...listen], {
    stdio: 'ignore',
  })
  const deadline = performance.now() + 20_000
  const isListening = async () => {
    const sockets = await host.exec('ss', '-Hlun')
    return addresses.every((address) =>
      sockets.includes(`${address.includes(':') ? `[${address}]` : address}:${STUN_PORT} `),
    )
  }
  while (!(await isListening())) {
    if (server.exitCode !== null || performance.now() > deadline)
      throw new Error('turnserver does not listen')
    await delay(20)
  }
}
