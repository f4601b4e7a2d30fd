/** A WireGuard interface by way of `wg`. Inside the agent keys are base64url; here, and only here, they become WireGuard's base64. */
import { base64UrlToBase64, utf8 } from '../../crypto/bytes.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import type { WireGuardKey } from '../../protocol/ids.ts'
import { CommandError, type Commands } from './exec.ts'
import type { PeerChange, Steps } from './reconcile.ts'
import { type DeviceState, parseDump } from './wg-dump.ts'

/** Peers named in one argument list, which the kernel bounds. */
const PEERS_PER_CALL = 250
const BASE64 = utf8('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')

interface ReplacingPeer {
  readonly publicKey: WireGuardKey
  readonly allowedIps: readonly string[]
  readonly endpoint: string | undefined
  readonly keepalive: number
  readonly psk?: SecretBytes | undefined
}

/** A peer that `wg` does not take. */
export interface Refusal {
  readonly publicKey: WireGuardKey
  readonly problem: string
}

export class WireGuardDevice {
  readonly name: string
  readonly #commands: Commands

  constructor(commands: Commands, name: string) {
    this.#commands = commands
    this.name = name
  }

  /** @throws CommandError if there is no such interface, or it is not WireGuard's. */
  async read(): Promise<DeviceState> {
    return parseDump(await this.#commands.run('wg', ['show', this.name, 'dump']))
  }

  async configure(privateKey: SecretBytes, listenPort: number): Promise<void> {
    await this.#setWithKey(['listen-port', String(listenPort), 'private-key', '/dev/stdin'], privateKey)
  }

  /** Leaves the port alone: to set it, even to what it is, opens the socket anew and loses what is on its way. */
  async setPrivateKey(privateKey: SecretBytes): Promise<void> {
    await this.#setWithKey(['private-key', '/dev/stdin'], privateKey)
  }

  /**
   * One peer in place of another, in one command: at no moment are the addresses nobody's. A keepalive that was off and now is not makes
   * WireGuard call the peer at once.
   */
  async replace(
    old: WireGuardKey,
    { publicKey, allowedIps, endpoint, keepalive, psk }: ReplacingPeer,
  ): Promise<void> {
    const change = [...named(publicKey), ...(psk === undefined ? [] : ['preshared-key', '/dev/stdin'])]
    if (endpoint !== undefined) change.push('endpoint', endpoint)
    change.push('persistent-keepalive', String(keepalive), 'allowed-ips', allowedIps.join(','))
    const settings = [...change, ...named(old), 'remove']
    await (psk === undefined ? this.#set(settings) : this.#setWithKey(settings, psk))
  }

  /** Of a peer that is there; it counts from the next handshake on. @param psk undefined for none. */
  async setPsk(publicKey: WireGuardKey, psk: SecretBytes | undefined): Promise<void> {
    const settings = [...named(publicKey), 'preshared-key', psk === undefined ? '/dev/null' : '/dev/stdin']
    await (psk === undefined ? this.#set(settings) : this.#setWithKey(settings, psk))
  }

  /** The pre-shared key of a peer, which the caller wipes; undefined if it has none. */
  async readPsk(publicKey: WireGuardKey): Promise<SecretBytes | undefined> {
    const output = await this.#commands.run('wg', ['show', this.name, 'preshared-keys'])
    try {
      const line = Buffer.from(`${base64UrlToBase64(publicKey)}\t`)
      const at = Buffer.from(output.buffer, output.byteOffset, output.byteLength).indexOf(line)
      const key =
        at < 0 ? undefined : fromBase64Bytes(output.subarray(at + line.length, at + line.length + 44))
      return key && SecretBytes.take(key)
    } finally {
      output.fill(0)
    }
  }

  /** @returns the peers it refuses; the others are as they should be. */
  async apply({ del, put }: Steps): Promise<Refusal[]> {
    for (const keys of chunks(del)) await this.#set(keys.flatMap((key) => [...named(key), 'remove']))
    const refusals: Refusal[] = []
    const whole = put.filter(({ allowedIps }) => allowedIps !== undefined)
    if (whole.length > 0) refusals.push(...(await this.#applyEach(whole, (peers) => this.#append(peers))))
    // `addconf` replaces a peer's allowed addresses even where it names none, so it is not for peers that keep theirs.
    const partial = put.filter(({ allowedIps }) => allowedIps === undefined)
    for (const changes of chunks(partial))
      refusals.push(...(await this.#applyEach(changes, (peers) => this.#set(peers.flatMap(settings)))))
    return refusals
  }

  /** `wg` takes none of a batch in which it dislikes one, so a batch that fails is halved until those few are found. */
  async #applyEach(
    changes: readonly PeerChange[],
    apply: (changes: readonly PeerChange[]) => Promise<void>,
  ): Promise<Refusal[]> {
    try {
      await apply(changes)
      return []
    } catch (error) {
      if (!(error instanceof CommandError && error.failure === 'failed')) throw error
      // Without an interface every one of them would fail, and none would be to blame.
      await this.read()
      const [first, ...others] = changes
      if (first === undefined) return []
      if (others.length === 0) return [{ publicKey: first.publicKey, problem: error.message }]
      const middle = Math.ceil(changes.length / 2)
      const refusals = await this.#applyEach(changes.slice(0, middle), apply)
      return [...refusals, ...(await this.#applyEach(changes.slice(middle), apply))]
    }
  }

  async #append(peers: readonly PeerChange[]): Promise<void> {
    await this.#commands.run('wg', ['addconf', this.name, '/dev/stdin'], utf8(peers.map(section).join('\n')))
  }

  /** The settings name /dev/stdin where the key belongs. */
  async #setWithKey(settings: readonly string[], secret: SecretBytes): Promise<void> {
    const key = base64(secret.expose())
    try {
      await this.#set(settings, key)
    } finally {
      key.fill(0)
    }
  }

  async #set(settings: readonly string[], input?: Uint8Array): Promise<void> {
    await this.#commands.run('wg', ['set', this.name, ...settings], input)
  }
}

const named = (key: WireGuardKey) => ['peer', base64UrlToBase64(key)]

const settings = ({ publicKey, endpoint, keepalive }: PeerChange): string[] => [
  ...named(publicKey),
  ...(endpoint === undefined ? [] : ['endpoint', endpoint]),
  ...(keepalive === undefined ? [] : ['persistent-keepalive', String(keepalive)]),
]

const section = ({ publicKey, allowedIps = [], endpoint, keepalive }: PeerChange): string =>
  [
    '[Peer]',
    `PublicKey = ${base64UrlToBase64(publicKey)}`,
    // One that names none is left without any, but `wg` does not take the line.
    ...(allowedIps.length === 0 ? [] : [`AllowedIPs = ${allowedIps.join(', ')}`]),
    ...(endpoint === undefined ? [] : [`Endpoint = ${endpoint}`]),
    ...(keepalive === undefined ? [] : [`PersistentKeepalive = ${keepalive}`]),
    '',
  ].join('\n')

/** As bytes, because a string cannot be wiped. */
function base64(bytes: Uint8Array): Uint8Array {
  const text = new Uint8Array(Math.ceil(bytes.length / 3) * 4).fill('='.charCodeAt(0))
  for (let bit = 0, at = 0; bit < bytes.length * 8; bit += 6, at++) {
    const pair = ((bytes[bit >> 3] ?? 0) << 8) | (bytes[(bit >> 3) + 1] ?? 0)
    text[at] = BASE64[(pair >> (10 - (bit & 7))) & 63] ?? 0
  }
  return text
}

/** Undefined if it is not 32 bytes: `(none)`, for one. */
function fromBase64Bytes(text: Uint8Array): Uint8Array | undefined {
  if (text.length !== 44 || text[43] !== '='.charCodeAt(0)) return undefined
  const bytes = new Uint8Array(32)
  for (let at = 0; at < 43; at++) {
    const value = BASE64.indexOf(text[at] ?? 0)
    if (value < 0) return undefined
    for (let bit = 0; bit < 6 && at * 6 + bit < 256; bit++)
      if ((value >> (5 - bit)) & 1)
        bytes[(at * 6 + bit) >> 3] = (bytes[(at * 6 + bit) >> 3] ?? 0) | (128 >> ((at * 6 + bit) & 7))
  }
  return bytes
}

function* chunks<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += PEERS_PER_CALL)
    yield items.slice(start, start + PEERS_PER_CALL)
}
