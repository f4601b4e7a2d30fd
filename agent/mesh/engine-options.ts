/** What the mesh engine is given, and what it tells of itself. */
import type { importSealingKey } from '../../crypto/hpke.ts'
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import type { Settings } from '../../protocol/frames.ts'
import type { Endpoint, FleetId, Ipv4, NodeId, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPosition } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import type { PskMode } from '../config/psk-mode.ts'
import type { MeshNames, NamesStatus } from '../dns/mesh-names.ts'
import type { Log } from '../log.ts'
import type { WireGuardBackend } from './backend.ts'
import type { NodeRouteStatus, OfferedRoutes } from './enforcement.ts'
import type { Commands } from './exec.ts'
import type { MapAck } from './map-acks.ts'
import type { MapLease } from './map-lease.ts'
import type { MtuProbe } from './mtu-probe.ts'
import type { ProbePort } from './paths/shared-port.ts'
import type { PeerStatus } from './peer-status.ts'
import type { RelayPaths } from './relay-paths.ts'
import type { IgnoredSignals, SealedSignal } from './signals.ts'

/** What the gateway says at the beginning of each session. */
export type MeshSettings = Pick<Settings, 'stun' | 'relays' | 'leaseMs'>

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
  /** STUN servers, `host:port`; if there are none, those count that the gateway names. */
  readonly stun?: readonly string[]
  /** Shares WireGuard's port with the agent. Without it paths are tried by WireGuard alone. */
  readonly openPort?: (() => Promise<ProbePort>) | undefined
  /** Undefined if this node uses none. */
  readonly relay?: RelayPaths | undefined
  /** What is the same as long as this machine's addresses are. Without it a change is noticed some seconds later. */
  readonly networkState?: () => string
  readonly backend: WireGuardBackend
  readonly commands: Commands
  /** Networks behind this node; undefined if it offers none. */
  readonly routes?: OfferedRoutes | undefined
  /** Finds out how large packets may be; without it all are of the interface's size. */
  readonly openMtuProbe?: ((own: Ipv4) => Promise<MtuProbe>) | undefined
  /** Undefined if this node serves none. */
  readonly names?: Pick<MeshNames, 'follow' | 'interfaceUp' | 'status' | 'stop'> | undefined
  readonly clock: Clock
  readonly log: Log
  /** Whether pairs of nodes that both want it share a key beside WireGuard's own. */
  readonly psk?: PskMode | undefined
  /** Whether the map may be used. */
  readonly lease: Pick<MapLease, 'state'>
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
  /** Peers with which this node shares a key beside WireGuard's own. */
  readonly psk: number
  /** Networks behind this node and others. */
  readonly routes: readonly NodeRouteStatus[]
  readonly ignoredSignals: IgnoredSignals
  /** Why the interface is not as it should be, or which peers cannot be on it; undefined if all is well. */
  readonly lastError: string | undefined
}
