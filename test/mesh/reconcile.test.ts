import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ActualPeer, type DesiredPeer, reconcile, type Steps } from '../../agent/mesh/reconcile.ts'
import { WireGuardKey } from '../../protocol/ids.ts'

const key = (n: number) => WireGuardKey.parse(`${'A'.repeat(39)}${String(n).padStart(3, '0')}A`)
const endpoint = fc.constantFrom('198.18.0.1:1', '198.18.0.2:2', '[2001:db8::1]:3')

/** Peers whose addresses do not overlap, as the fleet guarantees of one map; two maps may well give one address to different peers. */
const desiredPeers: fc.Arbitrary<DesiredPeer[]> = fc
  .uniqueArray(fc.nat(7), { maxLength: 8 })
  .chain((numbers) =>
    fc.tuple(
      fc.constant(numbers),
      fc.shuffledSubarray([...Array(16).keys()], { minLength: 16 }),
      fc.array(
        fc.record({ endpoint: fc.option(endpoint, { nil: undefined }), keepalive: fc.constantFrom(0, 25) }),
        {
          minLength: 8,
          maxLength: 8,
        },
      ),
    ),
  )
  .map(([numbers, addresses, rest]) =>
    numbers.map((n, i) => ({
      publicKey: key(n),
      allowedIps: [`10.100.0.${addresses[2 * i]}/32`, `fd00::${addresses[2 * i + 1]}/128`],
      endpoint: rest[i]?.endpoint,
      keepalive: rest[i]?.keepalive ?? 0,
    })),
  )

const asActual = ({ publicKey, allowedIps, endpoint, keepalive }: DesiredPeer): ActualPeer => ({
  publicKey,
  allowedIps: allowedIps.toReversed(),
  endpoint,
  keepalive,
  lastHandshake: 0,
  rxBytes: 0,
  txBytes: 0,
})

/** What WireGuard does: an address given to one peer is taken from any other. */
function applied({ del, put }: Steps, actual: readonly ActualPeer[]): ActualPeer[] {
  const peers = new Map(actual.map((peer) => [peer.publicKey, peer]))
  for (const gone of del) peers.delete(gone)
  for (const { publicKey, allowedIps, endpoint, keepalive } of put) {
    const before = peers.get(publicKey) ?? asActual({ publicKey, allowedIps: [], keepalive: 0 })
    for (const [other, peer] of peers) {
      peers.set(other, { ...peer, allowedIps: peer.allowedIps.filter((ip) => !allowedIps?.includes(ip)) })
    }
    peers.set(publicKey, {
      ...before,
      allowedIps: allowedIps ?? before.allowedIps,
      endpoint: endpoint ?? before.endpoint,
      keepalive: keepalive ?? before.keepalive,
    })
  }
  return [...peers.values()]
}

const settings = (peers: readonly Pick<ActualPeer, 'publicKey' | 'allowedIps' | 'keepalive'>[]) =>
  new Map(peers.map((peer) => [peer.publicKey, [peer.allowedIps.toSorted(), peer.keepalive]]))

describe('reconciling the interface with the map', () => {
  test('gives what is wanted, from whatever is there', () => {
    fc.assert(
      fc.property(desiredPeers, desiredPeers, (desired, present) => {
        const actual = present.map(asActual)
        const after = applied(reconcile(desired, actual), actual)
        expect(settings(after)).toEqual(settings(desired))
        for (const { publicKey, endpoint } of desired) {
          const found = after.find((peer) => peer.publicKey === publicKey)
          const learned = actual.find((peer) => peer.publicKey === publicKey)?.endpoint
          expect(found?.endpoint).toBe(endpoint ?? learned)
        }
        expect(reconcile(desired, after)).toEqual({ del: [], put: [] })
      }),
      { numRuns: 500 },
    )
  })

  test('does nothing where nothing differs, whatever the order', () => {
    fc.assert(
      fc.property(desiredPeers, (peers) => {
        expect(reconcile(peers, peers.map(asActual).toReversed())).toEqual({ del: [], put: [] })
      }),
    )
  })

  test('never names a peer that is as it should be', () => {
    fc.assert(
      fc.property(desiredPeers, desiredPeers, (desired, present) => {
        const kept = new Set(desired.map(({ publicKey }) => publicKey))
        const actual = [
          ...desired.slice(0, 4).map(asActual),
          ...present.filter((p) => !kept.has(p.publicKey)).map(asActual),
        ]
        const { del, put } = reconcile(desired, actual)
        const named = [...del, ...put.map(({ publicKey }) => publicKey)]
        for (const { publicKey } of desired.slice(0, 4)) expect(named).not.toContain(publicKey)
      }),
    )
  })

  test('leaves an endpoint that WireGuard has learned', () => {
    const peer = { publicKey: key(1), allowedIps: ['10.100.0.1/32'], keepalive: 25 }
    const roamed = { ...asActual(peer), endpoint: '203.0.113.9:4242' }
    expect(reconcile([peer], [roamed]).put).toEqual([])
    expect(reconcile([{ ...peer, endpoint: '198.18.0.1:1' }], [roamed]).put).toEqual([
      { publicKey: key(1), endpoint: '198.18.0.1:1' },
    ])
  })
})
