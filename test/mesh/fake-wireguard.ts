/** `wg` and `ip` as far as the mesh uses them, in memory: for what the agent does with its interface, not for what WireGuard does. */

import type { WireGuardBackend } from '../../agent/mesh/backend.ts'
import { CommandError, type Commands } from '../../agent/mesh/exec.ts'
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { x25519PublicKey } from '../../crypto/x25519.ts'

export interface FakePeer {
  endpoint: string
  allowedIps: string
  keepalive: string
  lastHandshake: number
  /** Both ways. */
  bytes?: number
}

export class FakeWireGuard implements Commands, WireGuardBackend {
  readonly kind = 'userspace'
  /** By key, in base64. */
  readonly peers = new Map<string, FakePeer>()
  /** Every `wg` command is answered with a failure while this is set. */
  broken = false
  /** Keys, in base64, that `wg` dislikes: it takes nothing of a command that names one. */
  readonly disliked = new Set<string>()
  /** What a shell that is to run `ping` prints. */
  ping: (args: readonly string[]) => string | Promise<string> = () => ''
  reads = 0
  writes = 0
  addresses = [{ ifname: 'eth0', addr_info: [{ local: '198.18.0.1', prefixlen: 24 }] }]
  #publicKey = '(none)'
  #port = '0'

  ensure(): Promise<'created'> {
    return Promise.resolve('created')
  }

  remove(): Promise<void> {
    return Promise.resolve()
  }

  launch(): never {
    throw new Error('nothing is started here')
  }

  async run(program: string, args: readonly string[], input?: Uint8Array): Promise<Uint8Array> {
    const text = input === undefined ? '' : Buffer.from(input).toString()
    if (program === 'sh') return Buffer.from(await this.ping(args))
    return Buffer.from(program === 'wg' ? await this.#wg(args, text) : this.#ip(args))
  }

  #ip(args: readonly string[]): string {
    return args.includes('-details') && args.includes('address') ? JSON.stringify(this.addresses) : ''
  }

  async #wg([command, , ...rest]: readonly string[], input: string): Promise<string> {
    if (this.broken) throw new CommandError('wg', 'failed', { status: 'status 1', stderr: 'broken' })
    if (command === 'show') return this.#dump()
    this.writes++
    const named = `${input} ${rest.join(' ')}`
    if ([...this.disliked].some((key) => named.includes(key)))
      throw new CommandError('wg', 'failed', { status: 'status 1', stderr: 'Key is not to my liking' })
    if (command === 'addconf') this.#append(input)
    else if (rest[0] === 'listen-port') {
      this.#port = rest[1] ?? ''
      const key = SecretBytes.take(new Uint8Array(Buffer.from(input, 'base64')))
      this.#publicKey = base64UrlToBase64(await x25519PublicKey(key))
    } else this.#set(rest)
    return ''
  }

  #dump(): string {
    this.reads++
    const peers = [...this.peers].map(
      ([key, { endpoint, allowedIps, lastHandshake, keepalive, bytes = 0 }]) =>
        [key, '(none)', endpoint, allowedIps, lastHandshake, 0, bytes, keepalive].join('\t'),
    )
    return `${[['private', this.#publicKey, this.#port, 'off'].join('\t'), ...peers].join('\n')}\n`
  }

  #append(text: string): void {
    for (const section of text.split('[Peer]\n').slice(1)) {
      const field = (name: string) => new RegExp(`^${name} = (.*)$`, 'm').exec(section)?.[1]
      const key = field('PublicKey') ?? ''
      const before = this.peers.get(key)
      this.peers.set(key, {
        allowedIps: field('AllowedIPs')?.replaceAll(', ', ',') || '(none)',
        endpoint: field('Endpoint') ?? before?.endpoint ?? '(none)',
        keepalive: field('PersistentKeepalive') ?? before?.keepalive ?? 'off',
        lastHandshake: before?.lastHandshake ?? 0,
        bytes: before?.bytes ?? 0,
      })
    }
  }

  #set(args: readonly string[]): void {
    let key = ''
    for (let i = 0; i < args.length; i++) {
      const peer = this.peers.get(key)
      if (args[i] === 'peer') key = args[++i] ?? ''
      else if (args[i] === 'remove') this.peers.delete(key)
      else if (args[i] === 'endpoint' && peer !== undefined) peer.endpoint = args[++i] ?? ''
      else if (args[i] === 'persistent-keepalive' && peer !== undefined) peer.keepalive = args[++i] ?? ''
    }
  }
}
