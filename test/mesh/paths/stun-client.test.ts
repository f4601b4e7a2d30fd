import { describe, expect, test, vi } from 'vitest'
import { StunClient } from '../../../agent/mesh/paths/stun-client.ts'
import { fromBase64Url } from '../../../crypto/bytes.ts'
import { Endpoint } from '../../../protocol/ids.ts'
import { ManualClock } from '../../support/manual-clock.ts'

const ONE = Endpoint.parse('198.51.100.1:3478')
const TWO = Endpoint.parse('198.51.100.2:3478')
const OWN = Endpoint.parse('203.0.113.9:51820')
const ADDRESSES: Record<string, string[]> = {
  'one.test': ['198.51.100.1', '2001:db8::1'],
  '198.51.100.2': ['198.51.100.2'],
}

/** @param port in the mapping that the answer tells of. */
function answer(txid: string, port: number): Uint8Array {
  const packet = new Uint8Array(32)
  const view = new DataView(packet.buffer)
  view.setUint16(0, 0x0101)
  view.setUint16(2, 12)
  view.setUint32(4, 0x2112a442)
  packet.set(fromBase64Url(txid) ?? [], 8)
  view.setUint32(20, 0x00010008)
  packet.set([0, 1, port >> 8, port & 255, 203, 0, 113, 9], 24)
  return packet
}

const txidOf = (packet: Uint8Array): string => Buffer.from(packet.subarray(8, 20)).toString('base64url')

function start() {
  const clock = new ManualClock()
  const sent: { readonly to: Endpoint; readonly txid: string }[] = []
  let changes = 0
  const client = new StunClient({
    send: (packet, to) => void sent.push({ to, txid: txidOf(packet) }),
    families: () => new Set(['ipv4'] as const),
    clock,
    resolve: async (host) => ADDRESSES[host] ?? Promise.reject(new Error('no such host')),
    onChange: () => changes++,
  })
  const asked = (count: number) => vi.waitFor(() => expect(sent).toHaveLength(count), { interval: 1 })
  return { clock, sent, client, asked, changes: () => changes }
}

describe('STUN servers', () => {
  test('are not asked if none is named', async () => {
    const { clock, sent, client } = start()
    client.use([])
    client.reset()
    clock.advance(3_600_000)
    expect(sent).toEqual([])
    expect(clock.pending).toBe(0)
  })

  test('are asked in the families there are, tell the mapping, and by two of them the kind of NAT', async () => {
    const { client, sent, asked, changes } = start()
    client.use(['one.test:3478', '198.51.100.2:3478', 'nowhere.test:3478', 'one.test:99999'])
    await asked(2)
    expect(sent.map(({ to }) => to)).toEqual([ONE, TWO])
    expect(client.natOf(new Set())).toBe('unknown')
    expect(client.receive(answer(sent[0]?.txid ?? '', 51_820), ONE)).toBe(true)
    expect([client.mapped, client.natOf(new Set()), client.natOf(new Set([OWN]))]).toEqual([
      [OWN],
      'easy',
      'none',
    ])
    expect(client.receive(answer(sent[1]?.txid ?? '', 4_000), TWO)).toBe(true)
    expect(client.natOf(new Set([OWN]))).toBe('hard')
    expect(changes()).toBe(2)
  })

  test('are believed only where they were asked, once, and by the number of the question', async () => {
    const { client, sent, asked } = start()
    client.use(['one.test:3478', '198.51.100.2:3478'])
    await asked(2)
    const [first] = sent
    expect(client.receive(answer(first?.txid ?? '', 1), TWO)).toBe(false)
    expect(client.receive(answer('A'.repeat(16), 1), ONE)).toBe(false)
    expect(client.receive(answer(first?.txid ?? '', 1), ONE)).toBe(true)
    expect(client.receive(answer(first?.txid ?? '', 2), ONE)).toBe(false)
    expect(client.mapped).toEqual(['203.0.113.9:1'])
  })

  test('that are silent are asked four times, then said to be silent, and asked again a minute later', async () => {
    const { clock, client, sent, asked, changes } = start()
    client.use(['198.51.100.2:3478'])
    await asked(1)
    clock.advance(3_000)
    expect(new Set(sent.map(({ txid }) => txid)).size).toBe(1)
    expect(sent).toHaveLength(4)
    expect([client.isSilent, changes()]).toEqual([true, 1])
    clock.advance(60_000)
    await asked(5)
    client.receive(answer(sent[4]?.txid ?? '', 51_820), TWO)
    expect(client.isSilent).toBe(false)
  })

  test('are asked seldom while nothing changes, at once when the network does, and not at every rumour', async () => {
    const { clock, client, sent, asked } = start()
    client.use(['198.51.100.2:3478'])
    await asked(1)
    client.receive(answer(sent[0]?.txid ?? '', 51_820), TWO)
    clock.advance(9 * 60_000)
    expect(sent).toHaveLength(1)
    client.reset()
    expect(client.mapped).toEqual([])
    await asked(2)
    client.again()
    clock.advance(100)
    expect(sent).toHaveLength(2)
    clock.advance(6_000)
    const before = sent.length
    client.again()
    await asked(before + 1)
    client.stop()
    expect(clock.pending).toBe(0)
  })
})
