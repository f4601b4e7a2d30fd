import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MeshMap } from '../../agent/mesh/map.ts'
import { meshHash, sumOfPeers } from '../../crypto/mesh-hash.ts'
import { Ipv4, NodeName, SealingKey, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshChanges, MeshPeer } from '../../protocol/mesh.ts'
import { nodeId } from './mesh-node.ts'

const peer = (n: number, version = 0): MeshPeer => ({
  id: nodeId(n),
  name: NodeName.parse(`node-${n}`),
  wg: WireGuardKey.parse(`${'w'.repeat(39)}${String(version).padStart(3, '0')}w`),
  seal: SealingKey.parse('s'.repeat(43)),
  ip4: Ipv4.parse(`10.100.0.${n}`),
})

const ids = (map: MeshMap) => [...map.peers.keys()].toSorted()

describe('folding changes into the map', () => {
  const snapshot: MeshChanges = { epoch: 'e1', to: 5, put: [peer(1), peer(2)] }

  function mapAt5(): MeshMap {
    const map = new MeshMap()
    map.fold(snapshot)
    return map
  }

  test('goes on exactly where it is', () => {
    const map = mapAt5()
    expect(map.fold({ epoch: 'e1', from: 5, to: 7, put: [peer(3)], del: [nodeId(1)] })).toBe('applied')
    expect(ids(map)).toEqual([nodeId(2), nodeId(3)].toSorted())
    expect(map.position).toEqual({ epoch: 'e1', seq: 7 })
  })

  test('knows a repetition from a gap, and is changed by neither', () => {
    const map = mapAt5()
    const before = map.peers
    expect(map.fold({ epoch: 'e1', from: 3, to: 5, del: [nodeId(1)] })).toBe('duplicate')
    expect(map.fold({ epoch: 'e1', from: 6, to: 7, del: [nodeId(1)] })).toBe('gap')
    expect(map.fold({ epoch: 'e1', from: 4, to: 6, del: [nodeId(1)] })).toBe('gap')
    expect(map.fold({ epoch: 'e2', from: 5, to: 6, del: [nodeId(1)] })).toBe('gap')
    expect(map.peers).toBe(before)
    expect(map.position).toEqual({ epoch: 'e1', seq: 5 })
  })

  test('without a first snapshot every change is a gap', () => {
    expect(new MeshMap().fold({ epoch: 'e1', from: 0, to: 1, put: [peer(1)] })).toBe('gap')
  })

  test('keeps the old map until the last part of a snapshot, and forgets the parts of one that was cut off', () => {
    const map = mapAt5()
    const part = { epoch: 'e2', to: 9, more: true } as const
    expect(map.fold({ ...part, put: [peer(3)] })).toBe('applied')
    expect(map.position).toEqual({ epoch: 'e1', seq: 5 })
    expect(map.peers.size).toBe(2)
    map.fold({ epoch: 'e2', to: 10, put: [peer(4)], more: true })
    map.fold({ epoch: 'e2', to: 10, put: [peer(5)] })
    expect(ids(map)).toEqual([nodeId(4), nodeId(5)].toSorted())
  })

  test('takes the parts of a delta together, with the last, and forgets those of one that was cut off', () => {
    const map = mapAt5()
    const { peers } = map
    const part = { epoch: 'e1', from: 5, to: 8, more: true } as const
    expect(map.fold({ ...part, put: [peer(3)], del: [nodeId(1)] })).toBe('applied')
    expect(map.peers).toBe(peers)
    expect(map.position).toEqual({ epoch: 'e1', seq: 5 })
    // A new session, to which something else has happened meanwhile.
    map.fold({ ...part, to: 9, put: [peer(4)] })
    map.fold({ epoch: 'e1', from: 5, to: 9, del: [nodeId(2)] })
    expect(ids(map)).toEqual([nodeId(1), nodeId(4)].toSorted())
    expect(map.position).toEqual({ epoch: 'e1', seq: 9 })
  })

  test('survives its way through the cache', () => {
    const map = mapAt5()
    const copy = MeshMap.parse(JSON.parse(JSON.stringify(map)))
    expect(copy?.position).toEqual(map.position)
    expect(copy?.peers).toEqual(map.peers)
    expect(MeshMap.parse({ peers: [{ id: 'x' }] })).toBeUndefined()
    expect(MeshMap.parse('text')).toBeUndefined()
  })
})

/** The gateway's side: what the map was at each place of the log. */
interface Log {
  readonly states: readonly ReadonlyMap<string, MeshPeer>[]
  readonly deltas: readonly MeshChanges[]
}

const EPOCH = 'log'
const hashOf = (peers: ReadonlyMap<string, MeshPeer> = new Map()) =>
  meshHash(sumOfPeers(peers.values()), null)
const operations = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.boolean()), {
  minLength: 1,
  maxLength: 30,
})

function logOf(changes: readonly (readonly [number, boolean])[]): Log {
  const states: Map<string, MeshPeer>[] = [new Map()]
  const deltas: MeshChanges[] = []
  for (const [seq, [n, put]] of changes.entries()) {
    const next = new Map(states.at(-1))
    if (put) next.set(nodeId(n), peer(n, seq))
    else next.delete(nodeId(n))
    states.push(next)
    deltas.push({
      epoch: EPOCH,
      from: seq,
      to: seq + 1,
      ...(put ? { put: [peer(n, seq)] } : { del: [nodeId(n)] }),
    })
  }
  return { states, deltas }
}

/** As the gateway cuts a delta: each node once, in its newest state. */
function rangeOf({ states, deltas }: Log, from: number, to: number): MeshChanges {
  const touched = new Set(
    deltas.slice(from, to).flatMap(({ put = [], del = [] }) => [...put.map(({ id }) => id), ...del]),
  )
  const [put, del] = [
    [...touched].flatMap((id) => states[to]?.get(id) ?? []),
    [...touched].filter((id) => !states[to]?.has(id)),
  ]
  return { epoch: EPOCH, from, to, put, del }
}

/** A session delivers a snapshot whole or, when it breaks off, its first parts. */
function snapshotAt({ states }: Log, seq: number, partSize: number): MeshChanges[] {
  const peers = [...(states[seq]?.values() ?? [])]
  const parts = Math.max(1, Math.ceil(peers.length / partSize))
  return Array.from({ length: parts }, (_, i) => ({
    epoch: EPOCH,
    to: seq,
    put: peers.slice(i * partSize, (i + 1) * partSize),
    ...(i < parts - 1 && { more: true as const }),
  }))
}

const event = fc.oneof(
  fc.record({ kind: fc.constant('delta' as const), at: fc.nat(29) }),
  fc.record({
    kind: fc.constant('snapshot' as const),
    at: fc.nat(30),
    size: fc.integer({ min: 1, max: 4 }),
    cut: fc.boolean(),
  }),
)

describe('against the gateway’s log', () => {
  test('the map is what the log says of its position, whatever is lost, repeated or late; a resync makes it whole', () => {
    fc.assert(
      fc.property(
        operations,
        fc.array(event, { maxLength: 60 }),
        fc.integer({ min: 1, max: 4 }),
        (changes, events, size) => {
          const log = logOf(changes)
          const last = changes.length
          const map = new MeshMap()
          const truth = () => {
            const { position } = map
            const expected = position === undefined ? new Map() : log.states[position.seq]
            expect(map.peers).toEqual(expected)
            expect(map.hash).toBe(hashOf(expected))
          }
          for (const arriving of events) {
            if (arriving.kind === 'delta') {
              const delta = log.deltas[arriving.at % last]
              const before = map.position
              if (delta !== undefined && map.fold(delta) !== 'applied') expect(map.position).toEqual(before)
            } else {
              const parts = snapshotAt(log, arriving.at % (last + 1), arriving.size)
              for (const part of arriving.cut ? parts.slice(0, -1) : parts) map.fold(part)
            }
            truth()
          }
          for (const part of snapshotAt(log, last, size)) map.fold(part)
          expect(map.peers).toEqual(log.states[last])
          expect(map.position).toEqual({ epoch: EPOCH, seq: last })
        },
      ),
      { numRuns: 500 },
    )
  })

  test('duplicates, losses, reorderings and one re-register always end in the gateway’s state', () => {
    const delivered = fc.array(fc.tuple(fc.nat(29), fc.integer({ min: 1, max: 5 })), { maxLength: 40 })
    fc.assert(
      fc.property(operations, delivered, fc.boolean(), (changes, arriving, resumes) => {
        const log = logOf(changes)
        const last = changes.length
        const map = new MeshMap()
        for (const part of snapshotAt(log, 0, 4)) map.fold(part)
        // What is delivered is any range of the log, in any order, as often as it likes, through a cache now and then.
        for (const [from, length] of arriving) {
          const to = Math.min(from + length, last)
          if (from < to) map.fold(rangeOf(log, from, to))
        }
        const again = MeshMap.parse(JSON.parse(JSON.stringify(map)))
        if (again === undefined) throw new Error('the cache cannot be read')
        const { position } = again
        if (resumes && position !== undefined) again.fold(rangeOf(log, position.seq, last))
        else for (const part of snapshotAt(log, last, 3)) again.fold(part)
        expect(again.peers).toEqual(log.states[last])
        expect(again.position).toEqual({ epoch: EPOCH, seq: last })
        expect(again.hash).toBe(hashOf(log.states[last]))
      }),
      { numRuns: 500 },
    )
  })

  test('all changes in order give the last state', () => {
    fc.assert(
      fc.property(operations, (changes) => {
        const log = logOf(changes)
        const map = new MeshMap()
        for (const part of snapshotAt(log, 0, 4)) map.fold(part)
        for (const delta of log.deltas) expect(map.fold(delta)).toBe('applied')
        expect(map.peers).toEqual(log.states.at(-1))
      }),
    )
  })
})
