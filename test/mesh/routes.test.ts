import { describe, expect, test } from 'vitest'
import { findConflict, type Route, routeConflict } from '../../agent/mesh/routes.ts'

const FLEET = ['10.100.0.0/16', 'fd00:1:2::/48']
const route = (dst: string, rest: Partial<Route> = {}): Route => ({
  dst,
  dev: 'eth0',
  type: 'unicast',
  table: 'main',
  ...rest,
})
const conflict = (one: Route) => findConflict([one], FLEET, 'claw0') !== undefined

describe('a route in the way of the fleet', () => {
  test.each([
    route('10.100.0.0/16'),
    route('10.100.3.0/24'),
    route('10.100.3.7'),
    route('10.100.3.7', { type: 'local', table: 'local' }),
    route('10.0.0.0/8', { gateway: '192.0.2.1' }),
    route('fd00:1:2:3::/64'),
    route('fd00::/8'),
    route('10.100.3.0/24', { type: 'blackhole' }),
  ])('is one that overlaps its ranges: $dst', (one) => expect(conflict(one)).toBe(true))

  test.each([
    ['the default route', route('default')],
    ['a VPN’s half of everything', route('0.0.0.0/1')],
    ['another range', route('10.101.0.0/16')],
    ['our own', route('10.100.0.0/16', { dev: 'claw0' })],
    ['a refusal of the wider range', route('10.0.0.0/8', { type: 'blackhole' })],
    ['a table of somebody’s own rules', route('10.100.0.0/16', { table: '52' })],
    ['multicast', route('ff00::/8', { type: 'multicast', table: 'local' })],
  ])('is not %s', (_, one) => expect(conflict(one)).toBe(false))

  test('is named as `ip` names it', () => {
    expect(routeConflict(route('10.0.0.0/8', { gateway: '192.0.2.1' }), FLEET).why).toBe(
      'it has the route 10.0.0.0/8 via 192.0.2.1 dev eth0',
    )
  })
})
