/** The relay's binary messages: whatever is put in comes out, and nothing else is taken for packets. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toBase32 } from '../../protocol/base32.ts'
import { NodeId } from '../../protocol/ids.ts'
import { MAX_RELAY_MESSAGE_BYTES, MAX_RELAY_PACKET_BYTES, RELAY_SHARDS } from '../../protocol/limits.ts'
import {
  allRelayShardNames,
  decodePackets,
  encodePackets,
  packetSize,
  pairShard,
  relayShardName,
} from '../../protocol/relay.ts'

const packet = fc.record({
  index: fc.nat(0xffff),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }),
})
const packets = fc.array(packet, { minLength: 1, maxLength: 40 })
const node = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => NodeId.parse(toBase32(bytes)))

describe('packets in a message', () => {
  test('come out as they went in', () => {
    fc.assert(
      fc.property(packets, (sent) => {
        const message = encodePackets(sent)
        expect(message.length).toBe(sent.reduce((sum, { bytes }) => sum + packetSize(bytes), 0))
        expect(decodePackets(message)?.map(({ index, bytes }) => ({ index, bytes: [...bytes] }))).toEqual(
          sent.map(({ index, bytes }) => ({ index, bytes: [...bytes] })),
        )
      }),
    )
  })

  test('are all there or the message is none', () => {
    fc.assert(
      fc.property(packets, fc.nat(), (sent, where) => {
        const message = encodePackets(sent)
        const starts = new Set<number>()
        let end = 0
        for (const { bytes } of sent) {
          end += packetSize(bytes)
          starts.add(end)
        }
        const cut = where % message.length
        // Cut between two packets it is a shorter message, cut anywhere else it is broken.
        expect(decodePackets(message.subarray(0, cut)) !== undefined).toBe(starts.has(cut))
      }),
    )
  })

  test('from any bytes: encoded again they are the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => {
        const decoded = decodePackets(bytes)
        if (decoded !== undefined) expect([...encodePackets(decoded)]).toEqual([...bytes])
      }),
    )
  })

  test('have their bounds', () => {
    const one = (length: number) => encodePackets([{ index: 0xffff, bytes: new Uint8Array(length) }])
    expect(decodePackets(new Uint8Array())).toBeUndefined()
    expect(decodePackets(one(0))).toBeUndefined()
    expect(decodePackets(one(MAX_RELAY_PACKET_BYTES))).toHaveLength(1)
    expect(decodePackets(one(MAX_RELAY_PACKET_BYTES + 1))).toBeUndefined()
    const many = new Uint8Array(MAX_RELAY_MESSAGE_BYTES + 5)
    for (let at = 0; at < many.length; at += 5) many[at + 3] = 1
    expect(decodePackets(many.subarray(0, many.length - (many.length % 5)))).toBeUndefined()
  })
})

describe('where two nodes meet', () => {
  test('is the same place for both, one of those there are', () => {
    fc.assert(
      fc.property(node, node, (a, b) => {
        expect(pairShard(a, b, RELAY_SHARDS)).toBe(pairShard(b, a, RELAY_SHARDS))
        expect(allRelayShardNames(RELAY_SHARDS)).toContain(relayShardName(pairShard(a, b, RELAY_SHARDS)))
      }),
    )
  })

  test('spreads evenly', () => {
    const nodes = fc.sample(node, { numRuns: 64, seed: 1 })
    const counts = Array<number>(RELAY_SHARDS).fill(0)
    for (const a of nodes)
      for (const b of nodes)
        if (a < b) counts[pairShard(a, b, RELAY_SHARDS)] = (counts[pairShard(a, b, RELAY_SHARDS)] ?? 0) + 1
    const fair = (nodes.length * (nodes.length - 1)) / 2 / RELAY_SHARDS
    for (const count of counts) expect(Math.abs(count - fair)).toBeLessThan(fair / 2)
  })

  test('is named with a version', () => {
    expect(relayShardName(3)).toBe('relay:v1:003')
  })
})
