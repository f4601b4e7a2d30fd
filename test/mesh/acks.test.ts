/** What a node tells of the map it has applied, and when. */
import { describe, expect, test, vi } from 'vitest'
import { type MapAck, MapAcks } from '../../agent/mesh/map-acks.ts'
import { meshHash, sumOfPeers } from '../../crypto/mesh-hash.ts'
import { MESH_ACK_INTERVAL_MS } from '../../protocol/limits.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { startFakeNode } from './fake-node.ts'
import { newSeed, SETTINGS, selfOf } from './mesh-node.ts'

const at = (seq: number, hash = `hash-${seq}`): MapAck => ({ epoch: 'e', seq, hash })

function acks() {
  const clock = new ManualClock()
  const sent: MapAck[] = []
  return { clock, sent, acks: new MapAcks(clock, (ack) => void sent.push(ack)) }
}

describe('acknowledgements', () => {
  test('go out at once, then at most one a second, which stands for all before it', () => {
    const { clock, sent, acks: told } = acks()
    told.connect()
    for (let seq = 1; seq <= 50; seq++) told.applied(at(seq))
    expect(sent).toEqual([at(1)])
    clock.advance(MESH_ACK_INTERVAL_MS - 1)
    expect(sent).toHaveLength(1)
    clock.advance(1)
    expect(sent).toEqual([at(1), at(50)])
    clock.advance(60_000)
    expect(sent).toHaveLength(2)
    expect(clock.pending).toBe(0)
  })

  test('wait for a session, and are said again in the next', () => {
    const { clock, sent, acks: told } = acks()
    told.applied(at(1))
    expect(sent).toEqual([])
    told.connect()
    told.disconnect()
    told.applied(at(2))
    clock.advance(MESH_ACK_INTERVAL_MS)
    expect(sent).toEqual([at(1)])
    told.connect()
    expect(sent).toEqual([at(1), at(2)])
    told.connect()
    clock.advance(MESH_ACK_INTERVAL_MS)
    expect(sent).toEqual([at(1), at(2), at(2)])
  })

  test('follow a place that moves while the map stays, but not a map that is not applied yet', () => {
    const { clock, sent, acks: told } = acks()
    told.connect()
    told.moved(at(1))
    told.applied(at(2, 'same'))
    clock.advance(MESH_ACK_INTERVAL_MS)
    told.moved(at(3, 'same'))
    clock.advance(MESH_ACK_INTERVAL_MS)
    told.moved(at(4, 'other'))
    expect(sent).toEqual([at(2, 'same'), at(3, 'same')])
  })
})

describe('the engine', () => {
  async function started() {
    const node = await startFakeNode()
    node.engine.onConnected(SETTINGS)
    return node
  }
  const soon = { timeout: 5_000, interval: 5 }

  test('acknowledges a map when it is on the interface, not when it was heard', async () => {
    const { engine, wireguard, acks: sent, clock } = await started()
    const [{ entry: two }, { entry: three }] = [await selfOf(newSeed(2)), await selfOf(newSeed(3))]
    wireguard.broken = true
    engine.applyChanges({ epoch: 'e', to: 1, put: [two] })
    await vi.waitFor(async () => expect((await engine.status()).lastError).toBeDefined(), soon)
    expect(sent).toEqual([])
    wireguard.broken = false
    clock.advance(1_000)
    const hash = meshHash(sumOfPeers([two]), null)
    await vi.waitFor(() => expect(sent).toEqual([{ epoch: 'e', seq: 1, hash }]), soon)
    // An entry that says nothing to this node moves its place without a look at the interface.
    const { reads } = wireguard
    engine.applyChanges({ epoch: 'e', from: 1, to: 2 })
    clock.advance(MESH_ACK_INTERVAL_MS)
    expect(sent.at(-1)).toEqual({ epoch: 'e', seq: 2, hash })
    engine.applyChanges({ epoch: 'e', from: 2, to: 3, put: [three] })
    await vi.waitFor(() => expect(wireguard.peers.size).toBe(2), soon)
    clock.advance(MESH_ACK_INTERVAL_MS)
    await vi.waitFor(() => expect(sent.at(-1)?.hash).toBe(meshHash(sumOfPeers([three, two]), null)), soon)
    expect(wireguard.reads - reads).toBeLessThanOrEqual(2)
    await engine.stop({ keepInterface: true })
  })
})
