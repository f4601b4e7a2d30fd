/** Which relays nodes are told of, and the gateway's own. */
import type { NodeId } from '../protocol/ids.ts'
import { RELAY_SHARDS } from '../protocol/limits.ts'
import { allRelayShardNames } from '../protocol/relay.ts'
import { callObject } from './call-object.ts'
import type { Env } from './env.ts'

export interface Relays {
  /** Whether this gateway is one. */
  readonly self: boolean
  /** Origins, `wss`. */
  readonly others: readonly string[]
}

/** The settings of a session name no more. */
const MAX_RELAYS = 8

export function parseRelays(text = ''): Relays | undefined {
  const words = text.split(/\s+/).filter((word) => word !== '')
  const others = words.filter((word) => word !== 'self')
  const valid = others.every((origin) => isSecureOrigin(origin))
  return valid && words.length <= MAX_RELAYS ? { self: words.includes('self'), others } : undefined
}

/** As a node is told. @param origin by which it knows this gateway: the one that it can reach. */
export function relaysFor(
  { relays: { self, others }, origins }: { readonly relays: Relays; readonly origins: ReadonlySet<string> },
  origin: string = [...origins][0] ?? '',
): string[] {
  return self ? [origin.replace(/^https:/, 'wss:'), ...others] : [...others]
}

/** Not another packet of a node that is removed or held. Where the gateway is no relay there is nothing to cut. */
export async function cutRelayed(
  env: Env,
  node: { readonly id: NodeId; readonly removed: boolean; readonly quarantine: string | undefined },
): Promise<void> {
  if (parseRelays(env.RELAYS)?.self !== true || !(node.removed || node.quarantine !== undefined)) return
  const code = node.removed ? 'E_NODE_REMOVED' : 'E_NODE_QUARANTINED'
  await Promise.all(
    allRelayShardNames(RELAY_SHARDS).map((name) =>
      callObject(env.RELAY_SHARD, name, (shard) => shard.cut(node.id, code)),
    ),
  )
}

function isSecureOrigin(text: string): boolean {
  if (!text.startsWith('wss://') || !URL.canParse(text)) return false
  const { host, username, password } = new URL(text)
  return username === '' && password === '' && text === `wss://${host}`
}
