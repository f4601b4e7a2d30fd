/** What the mesh engine is given, and what it tells of itself. */
import type { importSealingKey } from '../../crypto/hpke.ts'
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import type { Endpoint, FleetId, Ipv4, NodeId, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPosition } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import type { MeshNames, NamesStatus } from '../dns/mesh-names.ts'
import type { Log } from '../log.ts'
import type { WireGuardBackend } from './backend.ts'
import type { Commands } from './exec.ts'
import type { MapAck } from './map-acks.ts'
import type { PeerStatus } from './peer-status.ts'
import type { IgnoredSignals, SealedSignal } from './signals.ts'

export interface MeshEngineOptions {
  readonly fleet: { readonly id: FleetId; readonly ipv4Range: string }
  readonly self: {
    readonly id: NodeId
    readonly ipv4: Ipv4
    readonly wireguard: { readonly privateKey: SecretBytes; readonly publicKey: WireGuardKey }
    readonly sealing: { readonly privateKey: Awaited<ReturnType<typeof importSealingKey>> }
  }
  readonly iface: string
  readonly listenPort: number
  /** An endpoint of ours that no interface shows, such as a forwarded port. */
  readonly publicEndpoint?: Endpoint | undefined
  readonly backend: WireGuardBackend
  readonly commands: Commands
  /** Undefined if this node serves none. */
  readonly names?: Pick<MeshNames, 'follow' | 'interfaceUp' | 'status' | 'stop'> | undefined
  readonly clock: Clock
  readonly log: Log
  readonly loadCache: () => string | undefined
  /** The text names every peer and where it is: for this user's eyes only. */
  readonly saveCache: (text: string) => void
  /** At most a frame's worth at a time. Pacing is the caller's. */
  readonly sendSignals: (signals: SealedSignal[]) => void
  readonly sendAck: (ack: MapAck) => void
}

export interface MeshStatus {
  readonly interface: string
  readonly backend: 'kernel' | 'userspace' | undefined
  readonly position: MeshPosition | undefined
  readonly peers: readonly PeerStatus[]
  readonly names: NamesStatus | undefined
  readonly ignoredSignals: IgnoredSignals
  /** Why the interface is not as it should be, or which peers cannot be on it; undefined if all is well. */
  readonly lastError: string | undefined
}
