/**
 * A hash of what a node means the mesh to be: its peers, in whatever order they came, and its rules. Each entry is hashed by itself and the
 * hashes are added up, so that a change of one peer costs two hashes and not a pass over all of them.
 *
 * It finds maps that have gone apart by mistake. It is no proof: whoever may choose entries can find others of the same sum.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import type { MeshPeer, MeshRule } from '../protocol/mesh.ts'
import { toBase64Url, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'

const BITS = 64
const BYTES = BITS / 8

/** A sum of entries; 0n for none. */
export type MeshSum = bigint

export const addPeer = (sum: MeshSum, peer: MeshPeer): MeshSum => BigInt.asUintN(BITS, sum + peerHash(peer))
export const takePeer = (sum: MeshSum, peer: MeshPeer): MeshSum => BigInt.asUintN(BITS, sum - peerHash(peer))

export const sumOfPeers = (peers: Iterable<MeshPeer>): MeshSum => {
  let sum = 0n
  for (const peer of peers) sum = addPeer(sum, peer)
  return sum
}

/** As both sides send and keep it: 11 characters. */
export function meshHash(sum: MeshSum, rules: readonly MeshRule[] | null | undefined): string {
  const whole = BigInt.asUintN(BITS, sum + (rules ? entryHash('rules', canonical(rules)) : 0n))
  const bytes = new Uint8Array(BYTES)
  new DataView(bytes.buffer).setBigUint64(0, whole)
  return toBase64Url(bytes)
}

const hashes = new WeakMap<MeshPeer, MeshSum>()

/** An entry is never changed, only replaced, so that its hash is worked out once, however often the map is added up. */
export function peerHash(peer: MeshPeer): MeshSum {
  const hash = hashes.get(peer) ?? entryHash('peer', canonical(peer))
  hashes.set(peer, hash)
  return hash
}

/** Without what is not set, and with every object's fields in one order: the two sides make theirs in different ways. */
const canonical = (value: object): string =>
  JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  )

const entryHash = (kind: 'peer' | 'rules', text: string): MeshSum => {
  const { buffer, byteOffset } = sha256(utf8(`${DOMAIN.meshHash}\n${kind}\n${text}`))
  return new DataView(buffer, byteOffset).getBigUint64(0)
}
