import { describe, expect, test } from 'vitest'
import { orderCandidates, ownEndpoints } from '../../agent/mesh/endpoints.ts'
import { ranges } from '../../agent/mesh/ip-ranges.ts'
import type { LocalAddress } from '../../agent/mesh/local-addresses.ts'
import { Endpoint } from '../../protocol/ids.ts'

const fleet = ranges('10.100.0.0/16', 'fd00:1:2::/48')
const own = { iface: 'claw0', listenPort: 51_820, fleet }
const at = (iface: string, address: string, prefix = 24, kind?: string): LocalAddress => ({
  iface,
  address,
  prefix,
  kind,
})
const endpoints = (...texts: string[]) => texts.map((text) => Endpoint.parse(text))

describe('our own endpoints', () => {
  test('are the addresses others can reach, public ones first', () => {
    const local = [
      at('lo', '127.0.0.1', 8),
      at('eth0', '192.168.1.5'),
      at('eth0', 'fe80::1', 64),
      at('eth0', '2001:db8::5', 64),
      at('eth1', '203.0.113.5'),
      at('eth1', '169.254.10.1', 16),
      at('br0', '172.20.0.1', 16, 'bridge'),
    ]
    expect(ownEndpoints(local, own)).toEqual([
      '[2001:db8::5]:51820',
      '203.0.113.5:51820',
      '192.168.1.5:51820',
      '172.20.0.1:51820',
    ])
  })

  test.each(['docker0', 'br-1a2b', 'veth12', 'cni0', 'flannel.1', 'cali123', 'virbr0', 'lxcbr0', 'podman1'])(
    'leave out %s, which is inside this machine',
    (iface) => expect(ownEndpoints([at(iface, '172.17.0.1')], own)).toEqual([]),
  )

  test('leave out the mesh itself, other tunnels, and the fleet’s addresses wherever they are', () => {
    const local = [
      at('claw0', '198.51.100.1'),
      at('eth0', '10.100.0.7', 16),
      at('eth0', 'fd00:1:2::7', 64),
      at('tailscale0', '100.64.0.9', 32, 'tun'),
      at('wg7', '10.9.0.1', 24, 'wireguard'),
    ]
    expect(ownEndpoints(local, own)).toEqual([])
  })

  test('are at most eight, of which the configured one is the first, and none comes twice', () => {
    const local = Array.from({ length: 12 }, (_, n) => at('eth0', `192.0.2.${n + 1}`))
    const [configured] = endpoints('198.51.100.7:4000')
    expect(ownEndpoints(local, { ...own, configured })).toHaveLength(8)
    expect(ownEndpoints(local, { ...own, configured })[0]).toBe('198.51.100.7:4000')
    const [same] = endpoints('192.0.2.1:51820')
    expect(ownEndpoints(local.slice(0, 1), { ...own, configured: same })).toEqual(['192.0.2.1:51820'])
  })
})

describe('a peer’s candidates', () => {
  const local = [at('eth0', '192.168.1.5'), at('eth0', '2001:db8:5::5', 64)]

  const ordered = (of: Endpoint[]) => orderCandidates(of, local, fleet).map(({ endpoint }) => endpoint)

  test('come in the order same subnet, public, private', () => {
    const candidates = endpoints(
      '10.0.0.9:1',
      '203.0.113.9:1',
      '192.168.1.9:1',
      '[2001:db8:9::9]:1',
      '[2001:db8:5::9]:1',
    )
    expect(ordered(candidates)).toEqual([
      '192.168.1.9:1',
      '[2001:db8:5::9]:1',
      '203.0.113.9:1',
      '[2001:db8:9::9]:1',
      '10.0.0.9:1',
    ])
  })

  test('are near on a network of ours and on private ones', () => {
    const candidates = endpoints('10.0.0.9:1', '203.0.113.9:1', '[2001:db8:5::9]:1')
    expect(orderCandidates(candidates, local, fleet).map(({ nearness }) => nearness)).toEqual([
      'lan',
      'far',
      'lan',
    ])
  })

  test('are never the mesh itself, this machine, everybody, or an address family we have none of', () => {
    const candidates = endpoints(
      '10.100.0.9:1',
      '[fd00:1:2::9]:1',
      '127.0.0.1:1',
      '[::1]:1',
      '0.0.0.0:1',
      '224.0.0.1:1',
      '[fe80::9]:1',
    )
    expect(ordered(candidates)).toEqual([])
    expect(orderCandidates(endpoints('[2001:db8::9]:1'), [at('eth0', '192.168.1.5')], fleet)).toEqual([])
  })

  test('are written as `wg` writes them', () => {
    expect(ordered(endpoints('[2001:DB8:0:0::9]:1'))).toEqual(['[2001:db8::9]:1'])
  })
})
