/** The output of `wg show NAME dump`. */
import { base64ToBase64Url } from '../../crypto/bytes.ts'
import { WireGuardKey } from '../../protocol/ids.ts'
import type { ActualPeer } from './reconcile.ts'

const TAB = 9
const LINE_FEED = 10
/** Of `(none)`, which no key in base64 begins with. */
const PARENTHESIS = 40

export interface DeviceState {
  /** Undefined until a private key is set. */
  readonly publicKey: WireGuardKey | undefined
  readonly listenPort: number
  readonly peers: readonly ActualPeer[]
}

/** Wipes the secret fields in place before any of it becomes text. @throws TypeError if it is anything else. */
export function parseDump(dump: Uint8Array): DeviceState {
  wipeSecrets(dump)
  const [device, ...peers] = Buffer.from(dump.buffer, dump.byteOffset, dump.byteLength)
    .toString('latin1')
    .trimEnd()
    .split('\n')
  const [, publicKey, listenPort, fwmark] = device?.split('\t') ?? []
  if (publicKey === undefined || listenPort === undefined || fwmark === undefined) throw unreadable()
  return { publicKey: optionalKey(publicKey), listenPort: Number(listenPort), peers: peers.map(parsePeer) }
}

/** The device's private key is the first field of the first line, a peer's preshared key the second of its line. */
function wipeSecrets(dump: Uint8Array): void {
  let line = 0
  let field = 0
  let start = 0
  for (let i = 0; i < dump.length; i++) {
    if (dump[i] === LINE_FEED) {
      line++
      field = 0
      start = i + 1
    } else if (dump[i] === TAB) {
      field++
      start = i + 1
    } else if (field === (line === 0 ? 0 : 1) && dump[start] !== PARENTHESIS) dump[i] = 0
  }
}

function parsePeer(line: string): ActualPeer {
  const [key, psk, endpoint, allowedIps, handshake, rx, tx, keepalive] = line.split('\t')
  const publicKey = key === undefined ? undefined : optionalKey(key)
  if (
    publicKey === undefined ||
    endpoint === undefined ||
    allowedIps === undefined ||
    keepalive === undefined
  )
    throw unreadable()
  return {
    publicKey,
    allowedIps: allowedIps === '(none)' ? [] : allowedIps.split(','),
    endpoint: endpoint === '(none)' ? undefined : endpoint,
    keepalive: keepalive === 'off' ? 0 : Number(keepalive),
    lastHandshake: Number(handshake),
    rxBytes: Number(rx),
    txBytes: Number(tx),
    ...(psk !== '(none)' && { hasPsk: true as const }),
  }
}

function optionalKey(text: string): WireGuardKey | undefined {
  if (text === '(none)') return undefined
  const key = WireGuardKey.safeParse(base64ToBase64Url(text))
  if (!key.success) throw unreadable()
  return key.data
}

const unreadable = () => new TypeError('`wg show dump` printed something unexpected')
