/** What a restarted agent needs to reach its peers while the gateway is away. The caller keeps the text, readable by its user alone. */
import * as z from 'zod'
import { Cidr, Endpoint, NodeId } from '../../protocol/ids.ts'
import { parseJson } from '../../protocol/json.ts'
import { MeshMap } from './map.ts'

const Known = z.strictObject({
  endpoints: z.array(Endpoint),
  /** How it looks from outside. */
  mapped: z.array(Endpoint).optional(),
  /** When the peer said so, by its own clock in Unix milliseconds. */
  at: z.int(),
  /** The endpoint of the last good handshake, which WireGuard may have learned by itself. */
  worked: Endpoint.optional(),
})
/** What is known of where a peer is. */
export type Known = z.infer<typeof Known>

const Stored = z.strictObject({
  version: z.literal(1),
  map: z.unknown(),
  known: z.array(z.tuple([NodeId, Known])),
  /** Networks behind this node. */
  approved: z.array(Cidr).default([]),
})

export interface MeshCache {
  readonly map: MeshMap
  readonly known: ReadonlyMap<NodeId, Known>
  readonly approved: readonly Cidr[]
}

export const emptyCache = (): MeshCache => ({ map: new MeshMap(), known: new Map(), approved: [] })

export const formatCache = ({ map, known, approved }: MeshCache): string =>
  JSON.stringify({ version: 1, map, known: [...known].filter(([id]) => map.peers.has(id)), approved })

/** Undefined if it cannot be read: the gateway has it all, and sends it anew. */
export function parseCache(text: string): MeshCache | undefined {
  const stored = Stored.safeParse(parseJson(text))
  const map = stored.success ? MeshMap.parse(stored.data.map) : undefined
  if (!stored.success || map === undefined) return undefined
  const { known, approved } = stored.data
  return { map, known: new Map(known), approved }
}
