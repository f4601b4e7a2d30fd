/** A node as the rest of the gateway knows it, made of its row. */
import { nodeIpv6, numberToIpv4 } from '../protocol/addresses.ts'
import {
  type FleetId,
  type IdentityKey,
  type Ipv4,
  type Ipv6,
  type NodeId,
  type NodeName,
  type SealingKey,
  Tags,
  type WireGuardKey,
} from '../protocol/ids.ts'
import type { NodeRow } from './fleet-schema.ts'

export interface NodeRecord {
  readonly id: NodeId
  readonly name: NodeName
  readonly identity: IdentityKey
  readonly wg: WireGuardKey
  readonly seal: SealingKey
  readonly ipv4: Ipv4
  readonly ipv6: Ipv6
  readonly fleet: FleetId
  readonly tags: Tags
  readonly agent: string
  readonly mesh: boolean
  readonly createdAt: number
  readonly removed: boolean
  readonly quarantine: string | undefined
  /** Whether its owner waits for a new identity key of it. */
  readonly rotating: boolean
  /** Whether its owner waits for another WireGuard key. */
  readonly wireguardRotating: boolean
  /** Index of the audit entry that says its keys. */
  readonly entry: number | null
}

export const recordOf = (row: NodeRow, fleet: FleetId): NodeRecord => ({
  id: row.id,
  name: row.name,
  identity: row.identity_key,
  wg: row.wg_key,
  seal: row.sealing_key,
  ipv4: numberToIpv4(row.ipv4),
  ipv6: nodeIpv6(fleet, row.id),
  fleet,
  tags: Tags.parse(JSON.parse(row.tags)),
  agent: row.agent,
  mesh: row.mesh === 1,
  createdAt: row.created_at,
  removed: row.removed_at !== null,
  quarantine: row.quarantine ?? undefined,
  rotating: (row.rotation_until ?? 0) > Date.now(),
  wireguardRotating: (row.wg_rotation_until ?? 0) > Date.now(),
  entry: row.key_entry,
})
