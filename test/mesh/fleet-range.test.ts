import { describe, expect, test } from 'vitest'
import { acceptPeers } from '../../agent/mesh/accepted-peers.ts'
import { requireFleetRange } from '../../agent/mesh/fleet-range.ts'
import { parseIpv4Range } from '../../protocol/addresses.ts'
import { Ipv4, NodeId, NodeName, SealingKey, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { FakeWireGuard } from './fake-wireguard.ts'
import { FLEET, newSeed, nodeId, testNode } from './mesh-node.ts'

describe('the range of a fleet', () => {
  test.each([
    ['10.0.0.0/8', '10.1.2.3'],
    ['10.100.0.0/16', '10.100.0.1'],
    ['172.16.0.0/12', '172.31.0.1'],
    ['192.168.7.0/24', '192.168.7.254'],
    ['100.64.0.0/10', '100.127.255.254'],
  ])('may be %s', (cidr, own) => expect(requireFleetRange(cidr, Ipv4.parse(own)).cidr).toBe(cidr))

  test.each([
    ['everything', '0.0.0.0/0', '10.100.0.1'],
    ['half of everything', '0.0.0.0/1', '10.100.0.1'],
    ['public', '1.1.1.0/24', '1.1.1.2'],
    ['wider than what is private', '172.0.0.0/8', '172.16.0.1'],
    ['loopback', '127.0.0.0/8', '127.0.0.2'],
    ['without our own address', '10.100.0.0/16', '10.101.0.1'],
    ['with our own address at its edge', '10.100.0.0/16', '10.100.255.255'],
    ['no range', '10.100.0.1', '10.100.0.1'],
    ['one with host bits', '10.100.0.1/16', '10.100.0.1'],
    ['a flag of `ip`', '-4', '10.100.0.1'],
    ['IPv6', 'fd00::/8', '10.100.0.1'],
  ])('must not be %s', (_, cidr, own) => {
    const attempt = () => requireFleetRange(cidr, Ipv4.parse(own))
    expect(attempt).toThrow(expect.objectContaining({ code: 'E_FLEET_RANGE', exitCode: 78 }))
  })

  test('is judged before anything is asked of the machine', async () => {
    const asked: string[] = []
    const wireguard = new FakeWireGuard()
    const commands = {
      ...wireguard,
      run: async (program: string) => {
        asked.push(program)
        return new Uint8Array()
      },
      launch: wireguard.launch,
    }
    const node = testNode({
      seed: newSeed(1),
      commands,
      stateDirectory: '/nonexistent',
      iface: 'claw0',
      change: { backend: wireguard, fleet: { id: FLEET, ipv4Range: '0.0.0.0/0' } },
    })
    await expect(node).rejects.toMatchObject({ code: 'E_FLEET_RANGE' })
    expect(asked).toEqual([])
  })
})

describe('of the peers of a map', () => {
  const range = parseIpv4Range('10.100.0.0/16') ?? unreachable()
  const key = (letter: string) => WireGuardKey.parse(`${letter.repeat(42)}A`)
  const peer = (n: number, change: Partial<MeshPeer> = {}): MeshPeer => ({
    id: nodeId(n),
    name: NodeName.parse(`node-${n}`),
    wg: key(String(n)),
    seal: SealingKey.parse(`${'s'.repeat(42)}A`),
    ip4: Ipv4.parse(`10.100.0.${n}`),
    ...change,
  })
  const own = peer(1)
  const self = { id: own.id, ipv4: own.ip4, wireguard: { publicKey: own.wg } }
  const accept = (...peers: MeshPeer[]) => {
    const map = new Map(peers.map((one) => [one.id, one]))
    const { peers: accepted, refused } = acceptPeers(map, { id: FLEET, range }, self)
    return { accepted: [...accepted.keys()], refused: refused.map(({ id }) => id) }
  }

  test('all are accepted that are in no one’s way, and our own entry is none of them', () => {
    expect(accept(own, peer(2), peer(3))).toEqual({ accepted: [nodeId(2), nodeId(3)], refused: [] })
  })

  /** The same 80 bits at the front, and so the same IPv6 address. */
  const alike = (id: NodeId) => NodeId.parse(`${id.slice(0, 16)}${'b'.repeat(10)}`)

  test.each([
    ['an address outside the fleet', { ip4: Ipv4.parse('10.101.0.3') }],
    ['the network’s address', { ip4: Ipv4.parse('10.100.0.0') }],
    ['a public address', { ip4: Ipv4.parse('1.1.1.1') }],
    ['our address', { ip4: own.ip4 }],
    ['our key', { wg: own.wg }],
    ['our id', { id: own.id }],
    ['our IPv6 address', { id: alike(own.id) }],
    ['another’s address', { ip4: peer(2).ip4 }],
    ['another’s key', { wg: peer(2).wg }],
    ['another’s IPv6 address', { id: alike(peer(2).id) }],
  ])('one with %s is refused, and nobody else', (_, change) => {
    const bad = peer(3, change)
    expect(accept(peer(2), bad, peer(4))).toEqual({ accepted: [nodeId(2), nodeId(4)], refused: [bad.id] })
  })
})

function unreachable(): never {
  throw new Error('not a range')
}
