/** The queue of one destination: bounded, the oldest goes first, and a flood displaces itself alone. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toBase32 } from '../../protocol/base32.ts'
import { NodeId } from '../../protocol/ids.ts'
import { packetSize } from '../../protocol/relay.ts'
import { FairQueue } from '../../relay/fair-queue.ts'

const node = (number: number): NodeId => NodeId.parse(toBase32(new Uint8Array(16).fill(number)))
const packet = (length: number, index = 0) => ({ index, bytes: new Uint8Array(length) })

describe('the queue', () => {
  test('never holds more than its bound, loses nothing that it does not name, and keeps each sender’s order', () => {
    const push = fc.record({ from: fc.nat(3), length: fc.integer({ min: 1, max: 60 }) })
    fc.assert(
      fc.property(fc.array(fc.option(push, { freq: 3 }), { maxLength: 200 }), (steps) => {
        const max = 300
        const queue = new FairQueue(max)
        const inside = new Map<NodeId, number[]>()
        let serial = 0
        const gone = ({ source, index }: { source: NodeId; index: number }) => {
          // Displaced or served, it is that sender's oldest.
          expect(inside.get(source)?.shift()).toBe(index)
        }
        for (const step of steps) {
          if (step === null) {
            const next = queue.next
            const served = queue.shift()
            expect(served && packetSize(served.bytes)).toBe(next)
            if (served !== undefined) gone(served)
          } else {
            const source = node(step.from)
            inside.set(source, [...(inside.get(source) ?? []), ++serial])
            for (const displaced of queue.push(source, packet(step.length, serial))) gone(displaced)
          }
          expect(queue.bytes).toBeLessThanOrEqual(max)
        }
        for (let served = queue.shift(); served !== undefined; served = queue.shift()) gone(served)
        expect([...inside.values()].flat()).toEqual([])
        expect(queue.bytes).toBe(0)
      }),
    )
  })

  test('a flood displaces its own packets only', () => {
    const queue = new FairQueue(1_000)
    const [quiet, flooder] = [node(1), node(2)]
    for (let i = 0; i < 3; i++) expect(queue.push(quiet, packet(96, i))).toEqual([])
    const displaced = Array.from({ length: 500 }, (_, i) => queue.push(flooder, packet(96, i))).flat()
    expect(displaced).toHaveLength(493)
    expect(new Set(displaced.map(({ source }) => source))).toEqual(new Set([flooder]))
    // And it waits its turn: the quiet one's three packets are among the first six.
    const first = Array.from({ length: 6 }, () => queue.shift()?.source)
    expect(first.filter((source) => source === quiet)).toHaveLength(3)
  })

  test('keeps copies, so that a small packet does not hold a whole message', () => {
    const queue = new FairQueue(1_000)
    const message = new Uint8Array(16_384)
    queue.push(node(1), { index: 0, bytes: message.subarray(100, 132) })
    message.fill(1)
    const kept = queue.shift()?.bytes
    expect(kept?.buffer.byteLength).toBe(32)
    expect(kept).toEqual(new Uint8Array(32))
  })

  test('forgets a sender whole', () => {
    const queue = new FairQueue(1_000)
    queue.push(node(1), packet(50))
    queue.push(node(2), packet(60))
    queue.push(node(1), packet(70))
    expect(queue.drop(node(1))).toHaveLength(2)
    expect(queue.bytes).toBe(64)
    expect(queue.shift()?.source).toBe(node(2))
    expect(queue.shift()).toBeUndefined()
  })
})
