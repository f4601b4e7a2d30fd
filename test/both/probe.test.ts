/** Probes between nodes, under Node and under workerd. */
import { describe, expect, it } from 'vitest'
import { toBase64Url } from '../../crypto/bytes.ts'
import { importSealingKey } from '../../crypto/hpke.ts'
import {
  newTxid,
  openProbe,
  PROBE_BYTES,
  type Probe,
  probeKeys,
  probeSender,
  sealProbe,
  senderOf,
} from '../../crypto/probe.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { Endpoint, FleetId, NodeId, SealingKey } from '../../protocol/ids.ts'

const fleet = FleetId.parse('f'.repeat(26))
const otherFleet = FleetId.parse('g'.repeat(26))

async function node(letter: string) {
  const secret = generateX25519()
  const seal = SealingKey.parse(await x25519PublicKey(secret))
  return { id: NodeId.parse(letter.repeat(26)), seal, key: await importSealingKey(secret) }
}
type Node = Awaited<ReturnType<typeof node>>

async function keys(self: Node, peer: Node, of = fleet) {
  const found = await probeKeys(self.key, peer.seal, { fleet: of, self: self.id, peer: peer.id })
  if (found === undefined) throw new Error('no keys')
  return found
}

const ping: Probe = { kind: 'ping', txid: newTxid(), at: 1_790_000_000_000 }
const pongs: Probe[] = ['203.0.113.7:51820', '[2001:db8:1111:2222:3333:4444:5555:6666]:65535'].map(
  (text) => ({
    kind: 'pong',
    txid: newTxid(),
    observed: Endpoint.parse(text),
  }),
)

describe('probes', () => {
  it('come out as they went in, all of one length', async () => {
    const [a, b] = [await node('a'), await node('b')]
    const [mine, theirs] = [await keys(a, b), await keys(b, a)]
    for (const probe of [ping, ...pongs]) {
      const packet = sealProbe(mine.send, probeSender(fleet, a.id), probe)
      expect(packet).toHaveLength(PROBE_BYTES)
      expect(senderOf(packet)).toBe(probeSender(fleet, a.id))
      expect(openProbe(theirs.receive, packet)).toEqual({ ok: true, value: probe })
    }
  })

  it('say nothing to their sender, to a third node, to the same pair in another fleet, or to other ids with the same keys', async () => {
    const [a, b, c] = [await node('a'), await node('b'), await node('c')]
    const packet = sealProbe((await keys(a, b)).send, probeSender(fleet, a.id), ping)
    const strangers = [
      (await keys(a, b)).receive,
      (await keys(c, a)).receive,
      (await keys(c, b)).receive,
      (await keys(b, a, otherFleet)).receive,
      (await keys(b, { ...a, id: c.id })).receive,
      (await keys({ ...b, id: c.id }, a)).receive,
    ]
    for (const key of strangers) expect(openProbe(key, packet)).toEqual({ ok: false, error: 'corrupt' })
  })

  it('are refused with any one bit changed, or of another length', async () => {
    const [a, b] = [await node('a'), await node('b')]
    const packet = sealProbe((await keys(a, b)).send, probeSender(fleet, a.id), ping)
    const { receive } = await keys(b, a)
    for (let at = 0; at < packet.length; at++) {
      const changed = packet.slice()
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(openProbe(receive, changed).ok, `byte ${at}`).toBe(false)
    }
    expect(openProbe(receive, packet.subarray(1)).ok).toBe(false)
    expect(senderOf(packet.subarray(1))).toBeUndefined()
    expect(senderOf(Uint8Array.of(4, 0, 0, 0))).toBeUndefined()
  })

  it('have no key with a peer whose own is of low order', async () => {
    const a = await node('a')
    for (const low of [new Uint8Array(32), Uint8Array.of(1, ...new Uint8Array(31))]) {
      const peer = SealingKey.parse(toBase64Url(low))
      const pair = { fleet, self: a.id, peer: NodeId.parse('b'.repeat(26)) }
      expect(await probeKeys(a.key, peer, pair)).toBeUndefined()
    }
  })

  it('are made with a fresh nonce each time', async () => {
    const key = SecretBytes.random(32)
    const sender = probeSender(fleet, NodeId.parse('a'.repeat(26)))
    const nonce = () => toBase64Url(sealProbe(key, sender, ping).subarray(12, 24))
    expect(new Set(Array.from({ length: 50 }, nonce)).size).toBe(50)
  })
})
