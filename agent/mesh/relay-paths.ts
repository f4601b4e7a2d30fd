/** What the search for paths needs of the relay, and the relay of a node that has none. */
import type { Endpoint, NodeId } from '../../protocol/ids.ts'

export interface RelayPaths {
  /** The loopback endpoint by which WireGuard reaches this peer through the relay; undefined while it cannot. */
  endpoint(peer: NodeId): Endpoint | undefined
  /**
   * From now on packets that still come by the relay look as if they came from `as`, so that WireGuard does not roam back; undefined ends
   * that.
   */
  disguise(peer: NodeId, as: Endpoint | undefined): Promise<void>
  /** Called when the answer of endpoint() may have changed. */
  onChange(listener: () => void): void
}

export const noRelay: RelayPaths = {
  endpoint: () => undefined,
  disguise: async () => {},
  onChange: () => {},
}
