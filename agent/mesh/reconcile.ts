/** What has to change so that the interface's peers become the wanted ones, and nothing more. Pure. */
import type { WireGuardKey } from '../../protocol/ids.ts'

/** Seconds; 0 is off. */
type Keepalive = number

export interface DesiredPeer {
  readonly publicKey: WireGuardKey
  readonly allowedIps: readonly string[]
  /** Only what was chosen just now. Without it the peer keeps the endpoint it has: WireGuard may have learned a better one itself. */
  readonly endpoint?: string | undefined
  /** Sets the endpoint also where it is the same: WireGuard then forgets by which address of its own it went. */
  readonly reset?: boolean
  readonly keepalive: Keepalive
}

export interface ActualPeer {
  readonly publicKey: WireGuardKey
  readonly allowedIps: readonly string[]
  readonly endpoint: string | undefined
  readonly keepalive: Keepalive
  /** Unix seconds; 0 for never. */
  readonly lastHandshake: number
  readonly rxBytes: number
  readonly txBytes: number
  /** Whether it has a pre-shared key. */
  readonly hasPsk?: true
}

/** The fields that differ. */
export interface PeerChange {
  readonly publicKey: WireGuardKey
  readonly allowedIps?: readonly string[]
  readonly endpoint?: string
  readonly keepalive?: Keepalive
}

export interface Steps {
  /** To be done first: what a removed peer held may go to another one at once. */
  readonly del: readonly WireGuardKey[]
  readonly put: readonly PeerChange[]
}

export function reconcile(desired: readonly DesiredPeer[], actual: readonly ActualPeer[]): Steps {
  const wanted = new Set(desired.map(({ publicKey }) => publicKey))
  const present = new Map(actual.map((peer) => [peer.publicKey, peer]))
  return {
    del: [...present.keys()].filter((key) => !wanted.has(key)),
    put: desired.flatMap((peer) => difference(peer, present.get(peer.publicKey)) ?? []),
  }
}

function difference(desired: DesiredPeer, actual: ActualPeer | undefined): PeerChange | undefined {
  const { publicKey, allowedIps, endpoint, reset = false, keepalive } = desired
  const change: PeerChange = {
    publicKey,
    ...((actual === undefined || !sameSet(allowedIps, actual.allowedIps)) && { allowedIps }),
    ...(endpoint !== undefined && (reset || endpoint !== actual?.endpoint) && { endpoint }),
    ...(keepalive !== (actual?.keepalive ?? 0) && { keepalive }),
  }
  return Object.keys(change).length > 1 ? change : undefined
}

const sameSet = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && new Set([...a, ...b]).size === a.length
