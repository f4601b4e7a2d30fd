/** Rules of the policy on real WireGuard and nftables: what the receiver lets in, and what it cuts off. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import { nodeIpv6 } from '../../protocol/addresses.ts'
import type { MeshChanges, MeshRule } from '../../protocol/mesh.ts'
import { canMakeNamespaces, type Host, Lan, uniqueInterface } from '../support/netns.ts'
import { carrySignals, FLEET, IPV4_RANGE, newSeed, SETTINGS, type TestNode, testNode } from './mesh-node.ts'
import { answers, ping, serve, stream } from './traffic.ts'

const soon = { timeout: 20_000, interval: 50 }
const TCP = (from: number[], ...ports: [number, number][]): MeshRule => ({
  from,
  allow: [{ proto: 'tcp', ports }],
})

describe.skipIf(!canMakeNamespaces)('rules on the receiver (needs root and /dev/net/tun)', () => {
  let lan: Lan
  let directory: string
  let a: Host
  let b: Host
  let one: TestNode
  let two: TestNode
  let seq = 0

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'claw-rules-'))
    lan = new Lan()
    ;[a, b] = [lan.addHost(), lan.addHost()]
    const node = (host: Host, number: number) =>
      testNode({
        seed: newSeed(number),
        commands: host.commands,
        stateDirectory: directory,
        iface: uniqueInterface(),
      })
    ;[one, two] = [await node(a, 1), await node(b, 2)]
    await Promise.all([one.engine.start(), two.engine.start()])
    await b.exec('nft', 'add table inet foreign { chain input { type filter hook input priority 0; }; }')
    tell(one, { put: [{ ...two.entry, class: 0 }], rules: null })
    tell(two, { put: [{ ...one.entry, class: 7 }], rules: null })
    one.engine.onConnected(SETTINGS)
    two.engine.onConnected(SETTINGS)
    for (const port of [7001, 7002, 7005]) await serve(b, port)
    await serve(a, 7001)
    await vi.waitFor(async () => {
      await carrySignals([one, two])
      expect(await ping(a, two.entry.ip4)).toBe(true)
    }, soon)
  })

  afterAll(async () => {
    await Promise.all([one, two].map(({ engine }) => engine.stop({ keepInterface: false })))
    lan.destroy()
    rmSync(directory, { recursive: true })
  })

  function tell(node: TestNode, changes: Pick<MeshChanges, 'put' | 'del' | 'rules'>): void {
    const { position } = node.engine
    const from = position === undefined ? {} : { from: position.seq }
    node.engine.applyChanges({ epoch: 'test', ...from, to: ++seq, ...changes })
  }

  const table = () => b.exec('nft', 'list', 'table', 'inet', `claw_${two.iface}_rules`)
  /** When the rules are in force at node 2. */
  async function decree(rules: readonly MeshRule[] | null): Promise<void> {
    const look = () => b.exec('nft', '-s', 'list', 'table', 'inet', `claw_${two.iface}_rules`)
    const before = await look()
    if (rules === null && !before.includes('chain output')) return
    tell(two, { rules: rules === null ? null : [...rules] })
    await vi.waitFor(async () => expect(await look()).not.toBe(before), soon)
  }
  const ports = (address: string) => Promise.all([7001, 7002, 7005].map((port) => answers(a, address, port)))

  test('without a policy everything within the fleet is let in', async () => {
    expect(await ports(two.entry.ip4)).toEqual([true, true, true])
  })

  test('an allowed port answers, another does not, in both families; answers to what this node asked come back', async () => {
    await decree([TCP([7], [7001, 7001], [7004, 7010])])
    for (const address of [two.entry.ip4, nodeIpv6(FLEET, two.entry.id)]) {
      expect(await ports(address)).toEqual([true, false, true])
      expect(await ping(a, address)).toBe(false)
    }
    for (const address of [one.entry.ip4, nodeIpv6(FLEET, one.entry.id)]) {
      expect(await ping(b, address)).toBe(true)
      expect(await answers(b, address, 7001)).toBe(true)
    }
    expect(await table()).toMatch(/packets [1-9]/)
  })

  test('a rule for another class, or for a network behind the node, opens nothing', async () => {
    await decree([
      TCP([6], [7001, 7001]),
      { from: [7], to: ['192.168.7.0/24'], allow: [{ proto: 'any' }] } as MeshRule,
    ])
    expect(await ports(two.entry.ip4)).toEqual([false, false, false])
    await decree([{ from: [7], allow: [{ proto: 'icmp' }] }])
    expect(await ping(a, two.entry.ip4)).toBe(true)
    expect(await ports(two.entry.ip4)).toEqual([false, false, false])
  })

  test('a port that is taken away is cut off within 2 s where it is in use, and comes back', async () => {
    await decree([TCP([7], [7001, 7002])])
    const kept = stream(a, two.entry.ip4, 7001)
    const cut = stream(a, nodeIpv6(FLEET, two.entry.id), 7002)
    const own = stream(b, one.entry.ip4, 7001)
    await Promise.all([kept.flows(), cut.flows(), own.flows()])
    const takenAt = performance.now()
    tell(two, { rules: [TCP([7], [7001, 7001])] })
    await cut.quiet(1_500)
    expect(cut.lastAt - takenAt).toBeLessThan(2_000)
    await Promise.all([kept.flows(), own.flows()])
    tell(two, { rules: [TCP([7], [7001, 7002])] })
    await cut.flows()
  })

  test('a peer that changes its class loses and gains by one element, not by a new table', async () => {
    await decree([TCP([7], [7001, 7001]), TCP([8], [7002, 7002])])
    expect(await ports(two.entry.ip4)).toEqual([true, false, false])
    two.calls.length = 0
    tell(two, { put: [{ ...one.entry, class: 8 }] })
    await vi.waitFor(async () => expect(await ports(two.entry.ip4)).toEqual([false, true, false]), soon)
    const scripts = two.calls.filter(({ program, args }) => program === 'nft' && args[0] === '-f')
    expect(scripts.map(({ input }) => input.split('\n')[0]?.split(' ')[0])).toEqual(['delete'])
    tell(two, { put: [{ ...one.entry, class: 7 }] })
  })

  test('a connection that conntrack has never seen is no way around the rules, also if it is this node that speaks', async () => {
    await decree(null)
    const untracked = (hook: string) =>
      `{ type filter hook ${hook} priority -301; meta l4proto tcp notrack; }`
    await b.exec(
      'nft',
      `add table inet blind { chain a ${untracked('prerouting')}; chain b ${untracked('output')}; }`,
    )
    const before = stream(a, two.entry.ip4, 7002, 'listen')
    await before.flows()
    await decree([TCP([7], [7001, 7001])])
    await b.exec('nft', 'delete', 'table', 'inet', 'blind')
    await before.quiet(1_500)
    expect(await ports(two.entry.ip4)).toEqual([true, false, false])
  })

  test('a table that somebody has flushed comes back, and the others are left alone', async () => {
    await b.exec('nft', 'delete', 'table', 'inet', `claw_${two.iface}_rules`)
    await vi.waitFor(async () => expect(await table()).toContain('chain judge'), soon)
    expect(await ports(two.entry.ip4)).toEqual([true, false, false])
    expect(await b.exec('nft', 'list', 'tables')).toContain('table inet foreign')
  })

  test('nothing from the mesh is forwarded, and nobody beside it uses its addresses', async () => {
    await decree(null)
    const c = lan.addHost()
    const key = base64UrlToBase64(two.entry.wg)
    await b.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1')
    await c.exec('ip', 'route', 'add', IPV4_RANGE, 'via', b.address)
    // A node that does as it likes: it sends anything into the tunnel.
    await a.exec('ip', 'route', 'add', `${c.address}/32`, 'dev', one.iface)
    await one.engine.stop({ keepInterface: true })
    await a.exec('wg', 'set', one.iface, 'peer', key, 'allowed-ips', `${two.entry.ip4}/32,${c.address}/32`)
    expect(await ping(a, two.entry.ip4)).toBe(true)
    const denied = async () => Number(/packets (\d+)/.exec(await table())?.[1])
    const before = await denied()
    expect(await ping(a, c.address)).toBe(false)
    expect(await denied()).toBe(before + 1)

    await c.exec('ip', 'address', 'add', `${one.entry.ip4}/32`, 'dev', 'lo')
    expect(await ping(c, b.address, '-I', one.entry.ip4)).toBe(false)
    expect(await denied()).toBe(before + 2)
    expect(await ping(c, b.address)).toBe(true)
  })

  test('rules outlive the agent and the gateway, and go with the interface', async () => {
    await decree([TCP([7], [7001, 7001])])
    await vi.waitFor(() => expect(two.saved.cache).toContain('7001'), soon)
    await two.engine.stop({ keepInterface: true })
    expect(await table()).toContain('chain judge')
    const again = await testNode({ ...twoOf(), cache: two.saved.cache })
    await again.engine.start()
    expect(await ports(two.entry.ip4)).toEqual([true, false, false])
    await again.engine.stop({ keepInterface: false })
    expect(await b.exec('nft', 'list', 'tables')).toBe('table inet foreign\n')
  })

  const twoOf = () => ({ seed: two.seed, commands: b.commands, stateDirectory: directory, iface: two.iface })
})
