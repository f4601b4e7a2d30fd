/** Which keys a node has, as the audit trail says it: whoever seals to a node looks there, since a gateway could name a key of its own. */
import type { AuditDetail, AuditItem } from './audit.ts'
import type { IdentityKey, NodeId, NodeName, SealingKey, WireGuardKey } from './ids.ts'

export interface NodeKeys {
  readonly id: NodeId
  readonly identity: IdentityKey
  readonly sealing: SealingKey
  readonly wireguard: WireGuardKey
}

/** Each of these says all keys that the node has from then on. `node.keys`: of a node that enrolled before entries said them. */
export const NODE_KEY_ACTIONS: ReadonlySet<string> = new Set([
  'node.enrol',
  'node.identity_rotated',
  'node.wireguard_rotated',
  'node.keys',
])

export const nodeKeyDetail = (
  { id, identity, sealing, wireguard }: NodeKeys,
  name: NodeName,
): AuditDetail => ({
  node: id,
  name,
  identity,
  sealing,
  wireguard,
})

/** Whether this entry says that the node has these keys; one that is not asked about may be any. */
export function saysKeys(
  { action, target, outcome, detail }: Pick<AuditItem, 'action' | 'target' | 'outcome' | 'detail'>,
  keys: Pick<NodeKeys, 'id' | 'identity' | 'sealing'> & Partial<NodeKeys>,
): boolean {
  return (
    NODE_KEY_ACTIONS.has(action) &&
    outcome === 'allowed' &&
    target === `node:${keys.id}` &&
    detail?.['node'] === keys.id &&
    detail['identity'] === keys.identity &&
    detail['sealing'] === keys.sealing &&
    (keys.wireguard === undefined || detail['wireguard'] === keys.wireguard)
  )
}
