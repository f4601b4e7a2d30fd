/** Why two nodes have no direct path, for programs and for people. Pure. */
import type { Nat } from '../../../crypto/signal.ts'

export type PathReason =
  | 'no-candidates'
  | 'searching'
  | 'no-nftables'
  | 'peer-no-nftables'
  | 'udp-blocked'
  | 'both-symmetric'
  | 'symmetric-nat'
  | 'peer-silent'
  | 'no-handshake'

export interface Circumstances {
  /** Whether this node shares WireGuard's port. */
  readonly probes: boolean
  /** Undefined if the peer has not said. */
  readonly peerProbes: boolean | undefined
  readonly hasCandidates: boolean
  readonly isSearching: boolean
  /** Whether the peer answers probes. */
  readonly isAnswering: boolean
  /** Whether neither a STUN server nor any peer answers this node. */
  readonly isUdpSilent: boolean
  readonly nat: Nat
  readonly peerNat: Nat
}

export function pathReason(is: Circumstances): PathReason {
  if (is.isAnswering) return 'no-handshake'
  if (!is.hasCandidates) return 'no-candidates'
  if (is.isSearching) return 'searching'
  if (is.isUdpSilent) return 'udp-blocked'
  if (is.nat === 'hard' && is.peerNat === 'hard') return 'both-symmetric'
  if ((is.nat === 'hard' && is.peerNat !== 'none') || (is.peerNat === 'hard' && is.nat !== 'none'))
    return 'symmetric-nat'
  if (!is.probes) return 'no-nftables'
  if (is.peerProbes === false) return 'peer-no-nftables'
  return 'peer-silent'
}

export const PATH_HINTS: Readonly<Record<PathReason, string>> = {
  'no-candidates': 'the peer has not said where it is; is its agent connected to the gateway?',
  searching: 'a path is being looked for',
  'no-nftables':
    'without nftables this node cannot look for a path through NATs; install nft, or let the agent use it',
  'peer-no-nftables': 'without nftables the peer cannot look for a path through NATs; install nft there',
  'udp-blocked': 'no UDP comes back from outside; allow outgoing UDP in the firewall of this network',
  'both-symmetric':
    'both NATs give each destination another port; forward a UDP port on one side and set public_endpoint',
  'symmetric-nat':
    'the NAT of one side gives each destination another port; forward a UDP port on either side and set public_endpoint',
  'peer-silent':
    'the peer answers at none of its endpoints; allow incoming UDP to its WireGuard port, or name STUN servers',
  'no-handshake':
    'probes are answered, but not WireGuard; is the interface of the peer up, and its port not filtered?',
}
