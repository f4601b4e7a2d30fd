/** How a node looks from outside, when it has moved, and what it says of a pair without a path. */
import { describe, expect, test } from 'vitest'
import { NetworkWatch } from '../../../agent/mesh/paths/network-watch.ts'
import { OwnMapping } from '../../../agent/mesh/paths/own-mapping.ts'
import { type Circumstances, PATH_HINTS, pathReason } from '../../../agent/mesh/paths/path-reason.ts'
import { importSealingKey } from '../../../crypto/hpke.ts'
import { MAX_MAPPED_ENDPOINTS, MAX_OWN_ENDPOINTS, sealSignal } from '../../../crypto/signal.ts'
import { generateX25519 } from '../../../crypto/x25519.ts'
import { Endpoint } from '../../../protocol/ids.ts'
import { MAX_SIGNAL_BYTES } from '../../../protocol/limits.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { FLEET, newSeed, nodeId, selfOf } from '../mesh-node.ts'

const endpoint = (text: string) => Endpoint.parse(text)
const OWN = new Set([endpoint('203.0.113.9:51820')])
const nothing = { mapped: [], nat: 'unknown' as const }

describe('how this node looks from outside', () => {
  test('is told by STUN servers first, then by peers, the newest first, and never more than fits', () => {
    const mapping = new OwnMapping()
    expect(mapping.nat(OWN, nothing)).toBe('unknown')
    for (let n = 1; n <= 20; n++) mapping.report(nodeId(n), endpoint(`198.51.100.${n}:1`))
    const stun = { mapped: [endpoint('198.51.100.77:9')], nat: 'easy' as const }
    expect(mapping.mapped(OWN, stun)).toEqual(['198.51.100.77:9', '198.51.100.20:1', '198.51.100.19:1'])
    expect(mapping.nat(OWN, nothing)).toBe('easy')
    mapping.reset()
    expect(mapping.mapped(OWN, nothing)).toEqual([])
  })

  test('is what it knows itself where there is no NAT, and nothing that only a neighbour sees', () => {
    const mapping = new OwnMapping()
    expect(mapping.report(nodeId(1), endpoint('203.0.113.9:51820'))).toBe(true)
    expect(mapping.report(nodeId(2), endpoint('192.168.1.5:51820'))).toBe(false)
    expect(mapping.mapped(OWN, nothing)).toEqual([])
    expect(mapping.nat(OWN, nothing)).toBe('none')
    expect([mapping.isMappedFor(nodeId(1), OWN), mapping.isMappedFor(nodeId(2), OWN)]).toEqual([
      false,
      undefined,
    ])
    mapping.forgetAllBut(new Map())
    expect(mapping.nat(OWN, nothing)).toBe('unknown')
  })

  test('is one port of each address behind a NAT that gives each destination another', () => {
    const mapping = new OwnMapping()
    mapping.report(nodeId(1), endpoint('198.51.100.7:1111'))
    const stun = { mapped: ['198.51.100.7:1', '198.51.100.7:2'].map(endpoint), nat: 'hard' as const }
    expect(mapping.mapped(OWN, stun)).toHaveLength(1)
  })

  test('fits a signal whatever it is', async () => {
    const { entry } = await selfOf(newSeed(1))
    const long = (n: number) => endpoint(`[2001:db8:1111:2222:3333:4444:5555:${6000 + n}]:65535`)
    const signal = {
      kind: 'endpoints' as const,
      endpoints: Array.from({ length: MAX_OWN_ENDPOINTS }, (_, n) => long(n)),
      mapped: Array.from({ length: MAX_MAPPED_ENDPOINTS }, (_, n) => long(100 + n)),
      nat: 'unknown' as const,
      probes: false,
      reply: false,
      at: Number.MAX_SAFE_INTEGER,
    }
    const route = { fleet: FLEET, from: nodeId(1), to: entry.id }
    const sealed = await sealSignal(entry.seal, signal, route, await importSealingKey(generateX25519()))
    expect(sealed.length).toBeLessThanOrEqual(MAX_SIGNAL_BYTES)
  })
})

describe('a machine', () => {
  test('that moves or wakes is noticed, once', () => {
    const clock = new ManualClock()
    let addresses = 'eth0 192.0.2.1/24'
    const noticed: string[] = []
    const watch = new NetworkWatch({ clock, look: () => addresses, onChange: (what) => noticed.push(what) })
    clock.advance(10_000)
    expect(noticed).toEqual([])
    addresses = 'eth0 192.0.2.2/24'
    clock.advance(300)
    expect(noticed).toEqual(['addresses'])
    // The clock of the wall has gone on while the machine slept.
    clock.skewMs += 60_000
    clock.advance(10_000)
    expect(noticed).toEqual(['addresses', 'slept'])
    watch.stop()
    expect(clock.pending).toBe(0)
  })
})

describe('the reason why there is no direct path', () => {
  const plain: Circumstances = {
    probes: true,
    peerProbes: true,
    hasCandidates: true,
    isSearching: false,
    isAnswering: false,
    isUdpSilent: false,
    nat: 'easy',
    peerNat: 'easy',
  }

  test.each<[ReturnType<typeof pathReason>, Partial<Circumstances>]>([
    ['no-candidates', { hasCandidates: false, isSearching: true }],
    ['searching', { isSearching: true, nat: 'hard', peerNat: 'hard' }],
    ['udp-blocked', { isUdpSilent: true }],
    ['both-symmetric', { nat: 'hard', peerNat: 'hard' }],
    ['symmetric-nat', { nat: 'hard' }],
    ['symmetric-nat', { peerNat: 'hard', nat: 'unknown' }],
    ['peer-silent', { nat: 'hard', peerNat: 'none' }],
    ['no-nftables', { probes: false }],
    ['peer-no-nftables', { peerProbes: false }],
    ['peer-silent', {}],
    ['no-handshake', { isAnswering: true }],
  ])('is %s with %j', (reason, change) => {
    expect(pathReason({ ...plain, ...change })).toBe(reason)
    expect(PATH_HINTS[reason]).not.toBe('')
  })
})
