/** A network behind a node, on real WireGuard: machines there know nothing of the mesh, and are reached by those who may. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Cidr } from '../../protocol/ids.ts'
import type { MeshChanges, MeshPeer } from '../../protocol/mesh.ts'
import { canMakeNamespaces, type Host, Lan, uniqueInterface } from '../support/netns.ts'
import { carrySignals, IPV4_RANGE, newSeed, SETTINGS, type TestNode, testNode } from './mesh-node.ts'
import { answers, ping, serve } from './traffic.ts'

const soon = { timeout: 20_000, interval: 50 }
const NETWORKS = Cidr.array().parse(['192.168.7.0/24', 'fd00:7::/64'])
const [NETWORK = ''] = NETWORKS
const MACHINE = '192.168.7.10'
const MACHINE6 = 'fd00:7::10'
const canForwardIpv6 = existsSync('/proc/sys/net/ipv6/conf/lo/force_forwarding')

describe.skipIf(!canMakeNamespaces)('a subnet route (needs root and /dev/net/tun)', () => {
  let lan: Lan
  let directory: string
  /** A node, the node that routes, and a machine behind it. */
  let [a, router, machine]: Host[] = []
  let one: TestNode
  let two: TestNode
  let note: string | undefined
  let seq = 0

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'claw-routes-'))
    lan = new Lan()
    ;[a, router, machine] = [lan.addHost(), lan.addHost(), lan.addHost()]
    await behind(router, machine)
    const routes = {
      offers: NETWORKS,
      masquerade: true,
      note: {
        load: () => note,
        save: (text: string | undefined) => {
          note = text
        },
      },
    }
    const node = (host: Host, number: number, change = {}) =>
      testNode({
        seed: newSeed(number),
        commands: host.commands,
        stateDirectory: directory,
        iface: uniqueInterface(),
        change,
      })
    ;[one, two] = [await node(a, 1), await node(router, 2, { routes })]
    await Promise.all([one.engine.start(), two.engine.start()])
    for (const { engine } of [one, two]) engine.onConnected(SETTINGS)
    approve([])
    for (const port of [7001, 7002]) await serve(machine, port)
    await vi.waitFor(async () => {
      await carrySignals([one, two])
      expect(await ping(from(), two.entry.ip4)).toBe(true)
    }, soon)
  })

  afterAll(async () => {
    await Promise.all([one, two].map(({ engine }) => engine.stop({ keepInterface: false })))
    lan.destroy()
    rmSync(directory, { recursive: true })
  })

  const from = (): Host => a ?? expect.fail('no machines')
  const via = (): Host => router ?? expect.fail('no machines')
  const there = (): Host => machine ?? expect.fail('no machines')

  function tell(node: TestNode, changes: Pick<MeshChanges, 'put' | 'rules'>): void {
    const { position } = node.engine
    const since = position === undefined ? {} : { from: position.seq }
    node.engine.applyChanges({ epoch: 'test', ...since, to: ++seq, ...changes })
  }
  function approve(networks: readonly Cidr[], rules?: MeshChanges['rules']): void {
    const entry: MeshPeer = { ...two.entry, ...(networks.length > 0 && { routes: [...networks] }) }
    tell(one, { put: [entry] })
    two.engine.approve(networks)
    tell(two, { put: [{ ...one.entry, class: 3 }], ...(rules !== undefined && { rules }) })
  }
  const reached = (yes: boolean) =>
    vi.waitFor(async () => expect(await ping(from(), MACHINE)).toBe(yes), soon)
  const forwarding = async () =>
    (await via().exec('sysctl', '-n', 'net.ipv4.conf.eth0.forwarding', 'net.ipv4.conf.lan.forwarding')).split(
      /\s+/,
      2,
    )
  const statusOf = async (node: TestNode) => (await node.engine.status()).routes

  test('leads nowhere until it is approved', async () => {
    expect(await ping(from(), MACHINE)).toBe(false)
    expect(await from().exec('ip', 'route')).not.toContain('192.168.7.0')
    expect(await forwarding()).toEqual(['0', '0'])
  })

  test('is the way to a machine that knows nothing of the mesh, in both families, and from the first packet on', async () => {
    approve(NETWORKS)
    await reached(true)
    expect(await answers(from(), MACHINE, 7001)).toBe(true)
    if (canForwardIpv6) expect(await answers(from(), MACHINE6, 7001)).toBe(true)
    expect(await statusOf(one)).toEqual([
      { network: '192.168.7.0/24', by: 'node-2', problem: null },
      { network: 'fd00:7::/64', by: 'node-2', problem: null },
    ])
    expect((await statusOf(two))[0]).toEqual({ network: NETWORK, by: null, problem: null })
    // Only what is needed forwards, and what was found is noted.
    expect(await forwarding()).toEqual(['0', '1'])
    expect(note).toContain('ipv4/conf/lan/forwarding')
  })

  test('is no way back, and none to anywhere else', async () => {
    await there().exec('ip', 'route', 'add', IPV4_RANGE, 'via', '192.168.7.1')
    expect(await ping(there(), one.entry.ip4)).toBe(false)
    await there().exec('ip', 'route', 'add', '198.18.0.0/24', 'via', '192.168.7.1')
    await from().exec('ip', 'route', 'add', '192.168.99.0/24', 'dev', one.iface)
    await from().exec('ip', 'route', 'add', '192.168.8.0/24', 'via', via().address)
    await via().exec('ip', 'address', 'add', '192.168.8.1/24', 'dev', 'lan')
    await there().exec('ip', 'address', 'add', '192.168.8.10/24', 'dev', 'lan')
    // By the router’s own network card it does not forward at all; from behind it forwards answers alone.
    expect(await ping(from(), '192.168.8.10', '-I', from().address)).toBe(false)
    const denied = async () =>
      Number(
        /packets (\d+)/.exec(
          await via().exec('nft', 'list', 'table', 'inet', `claw_${two.iface}_rules`),
        )?.[1],
      )
    const before = await denied()
    expect(await ping(there(), from().address, '-I', '192.168.8.10')).toBe(false)
    expect(await denied()).toBe(before + 1)
    expect(await ping(from(), MACHINE)).toBe(true)
  })

  test('opens what the rules open into it, and a rule for the node itself opens nothing behind it', async () => {
    approve(NETWORKS, [
      { from: [3], allow: [{ proto: 'any' }] },
      { from: [3], to: NETWORKS, allow: [{ proto: 'tcp', ports: [[7002, 7002]] }] },
    ])
    await reached(false)
    expect(await answers(from(), MACHINE, 7001)).toBe(false)
    expect(await answers(from(), MACHINE, 7002)).toBe(true)
    expect(await ping(from(), two.entry.ip4)).toBe(true)
    approve(NETWORKS, null)
    await reached(true)
  })

  test('gives way to a network of this machine’s own', async () => {
    await from().exec('ip', 'link', 'add', 'home', 'type', 'bridge')
    await from().exec('ip', 'address', 'add', '192.168.7.200/25', 'dev', 'home')
    await from().exec('ip', 'link', 'set', 'home', 'up')
    tell(one, {})
    await vi.waitFor(async () => {
      const [first] = await statusOf(one)
      expect(first?.problem).toMatch(/^this machine has the route (local )?192\.168\.7\./)
    }, soon)
    await vi.waitFor(async () => {
      const routes = await from().exec('ip', 'route')
      expect(routes).toContain('192.168.7.128/25 dev home')
      expect(routes).not.toContain(`192.168.7.0/24 dev ${one.iface}`)
    }, soon)
    expect(await from().exec('wg', 'show', one.iface, 'allowed-ips')).not.toContain('192.168.7.0')
    await from().exec('ip', 'link', 'delete', 'home')
    tell(one, {})
    await reached(true)
  })

  test('is gone when it is withdrawn, and the machine is as it was', async () => {
    approve([])
    await reached(false)
    await vi.waitFor(async () => {
      expect(await forwarding()).toEqual(['0', '0'])
      expect(note).toBeUndefined()
      expect(await from().exec('ip', 'route')).not.toContain('192.168.7.0')
      expect(await from().exec('wg', 'show', one.iface, 'allowed-ips')).not.toContain('192.168.7.0')
      expect(await via().exec('nft', 'list', 'ruleset')).not.toContain('masquerade')
    }, soon)
  })

  test('is not served where this machine has not offered it, whatever the gateway says', async () => {
    await from().exec('ip', 'route', 'delete', '192.168.8.0/24')
    approve(Cidr.array().parse(['192.168.8.0/24']))
    await vi.waitFor(
      async () => expect(await from().exec('ip', 'route')).toContain('192.168.8.0/24 dev wg'),
      soon,
    )
    expect(await ping(from(), '192.168.8.10')).toBe(false)
    expect(await forwarding()).toEqual(['0', '0'])
  })
})

/** A wire of its own between the two, and no other for the machine. */
async function behind(router: Host | undefined, machine: Host | undefined): Promise<void> {
  if (router === undefined || machine === undefined) return
  await router.exec(
    'ip',
    'link',
    'add',
    'lan',
    'type',
    'veth',
    'peer',
    'name',
    'lan',
    'netns',
    machine.namespace,
  )
  await machine.exec('ip', 'link', 'delete', 'eth0')
  for (const [host, end] of [
    [router, '1'],
    [machine, '10'],
  ] as const) {
    await host.exec('ip', 'address', 'add', `192.168.7.${end}/24`, 'dev', 'lan')
    await host.exec('ip', 'address', 'add', `fd00:7::${end}/64`, 'dev', 'lan', 'nodad')
    await host.exec('ip', 'link', 'set', 'lan', 'up')
  }
  await router.exec('sysctl', '-qw', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0')
}
