/** Both sides of an acknowledgement hash a map to the same, however they came to it: under Node and under workerd. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addPeer, meshHash, peerHash, sumOfPeers, takePeer } from '../../crypto/mesh-hash.ts'
import { Cidr, Ipv4, NodeId, NodeName, SealingKey, Tags, WireGuardKey } from '../../protocol/ids.ts'
import { type MeshPeer, MeshPorts, type MeshRule } from '../../protocol/mesh.ts'

const letters = (n: number, length: number) => String.fromCharCode(97 + (n % 26)).repeat(length)
const peer = (n: number, change: Partial<MeshPeer> = {}): MeshPeer => ({
  id: NodeId.parse(letters(n, 26)),
  name: NodeName.parse(`node-${n}`),
  wg: WireGuardKey.parse(`${letters(n, 42)}A`),
  seal: SealingKey.parse(`${letters(n, 42)}E`),
  ip4: Ipv4.parse(`10.100.0.${n}`),
  ...change,
})
const hashOf = (peers: readonly MeshPeer[], rules: readonly MeshRule[] | null = null) =>
  meshHash(sumOfPeers(peers), rules)

const SSH = MeshPorts.parse({ proto: 'tcp', ports: [[22, 22]] })
const RULES: MeshRule[] = [{ from: [0], allow: [SSH] }]

describe('the hash of a map', () => {
  it('is what it always was: two versions of the code must agree', () => {
    expect(hashOf([])).toBe('AAAAAAAAAAA')
    expect(hashOf([peer(1), peer(2)])).toBe('DGLcIaAWUKs')
    expect(hashOf([peer(1)], RULES)).toBe('AgbmWl55cw0')
  })

  it('does not depend on the order of peers, nor of their fields, nor on how they came and went', () => {
    const change = fc.record({
      n: fc.integer({ min: 1, max: 8 }),
      tag: fc.option(fc.constantFrom('a', 'b')),
      gone: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), fc.integer(), (changes, seed) => {
        const peers = new Map<number, MeshPeer>()
        let sum = 0n
        for (const { n, tag, gone } of changes) {
          const before = peers.get(n)
          if (before !== undefined) sum = takePeer(sum, before)
          peers.delete(n)
          if (gone) continue
          const now = peer(n, tag === null ? {} : { tags: Tags.parse([tag]) })
          peers.set(n, now)
          sum = addPeer(sum, now)
        }
        const shuffled = [...peers.values()].sort((a, b) => peerDigit(a, seed) - peerDigit(b, seed))
        const reversed = shuffled.map(
          (entry) => Object.fromEntries(Object.entries(entry).reverse()) as MeshPeer,
        )
        expect(meshHash(sum, null)).toBe(hashOf(reversed))
      }),
      { numRuns: 200 },
    )
  })

  it.each<[string, Partial<MeshPeer>]>([
    ['name', { name: NodeName.parse('other') }],
    ['wg', { wg: WireGuardKey.parse(`${letters(9, 42)}A`) }],
    ['seal', { seal: undefined }],
    ['ip4', { ip4: Ipv4.parse('10.100.9.9') }],
    ['tags', { tags: Tags.parse(['x']) }],
    ['next', { next: WireGuardKey.parse(`${letters(9, 42)}A`) }],
    ['routes', { routes: [Cidr.parse('192.168.7.0/24')] }],
    ['class', { class: 1 }],
  ])('is another one for another %s', (_, change) => {
    expect(peerHash(peer(1, change))).not.toBe(peerHash(peer(1)))
  })

  it('is another one for other rules, and tells none from no policy', () => {
    const hashes = [hashOf([peer(1)]), hashOf([peer(1)], []), hashOf([peer(1)], RULES)]
    expect(new Set(hashes).size).toBe(3)
  })

  it('takes a field that is not set for one that is not there', () => {
    expect(peerHash(peer(1, { tags: undefined }))).toBe(peerHash(peer(1)))
  })
})

const peerDigit = ({ name }: MeshPeer, seed: number): number => (Number(name.slice(5)) * 7919 + seed) % 101
