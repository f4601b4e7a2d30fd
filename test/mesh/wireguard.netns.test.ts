/** The whole of the mesh on real WireGuard: wireguard-go in network namespaces, as many machines on one LAN. */
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { SystemBackend } from '../../agent/mesh/backend.ts'
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import { nodeIpv6 } from '../../protocol/addresses.ts'
import { Ipv4, type WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { canMakeNamespaces, type Host, Lan, processesIn, uniqueInterface } from '../support/netns.ts'
import { startPing } from '../support/ping.ts'
import type { AgentProcessInput } from './agent-process.ts'
import {
  carrySignals,
  connect,
  FLEET,
  IPV4_RANGE,
  type NodeSeed,
  newSeed,
  selfOf,
  type TestNode,
  testNode,
} from './mesh-node.ts'

const AGENT_PROCESS = join(import.meta.dirname, 'agent-process.ts')
const soon = { timeout: 20_000, interval: 50 }

interface Machine {
  readonly host: Host
  readonly seed: NodeSeed
  readonly stateDirectory: string
  readonly iface: string
}

describe.skipIf(!canMakeNamespaces)('real WireGuard (needs root and /dev/net/tun)', () => {
  let lan: Lan
  let directory: string
  let nodes: TestNode[]

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'claw-mesh-'))
    nodes = []
    lan = new Lan()
  })

  afterEach(async () => {
    await Promise.all(nodes.map(({ engine }) => engine.stop({ keepInterface: true })))
    lan.destroy()
    rmSync(directory, { recursive: true })
  })

  const machine = (number: number): Machine => ({
    host: lan.addHost(),
    seed: newSeed(number),
    stateDirectory: directory,
    iface: uniqueInterface(),
  })

  async function agent(on: Machine, change: Partial<Parameters<typeof testNode>[0]> = {}): Promise<TestNode> {
    const node = await testNode({ ...on, commands: on.host.commands, ...change })
    nodes.push(node)
    return node
  }

  async function started(
    on: Machine,
    change: Partial<Parameters<typeof testNode>[0]> = {},
  ): Promise<TestNode> {
    const node = await agent(on, change)
    await node.engine.start()
    return node
  }

  const carrying = async (...among: readonly TestNode[]) => {
    await vi.waitFor(async () => {
      await carrySignals(among)
      for (const { engine } of among) {
        const { peers } = await engine.status()
        expect(peers.filter(({ path }) => path === 'lan')).toHaveLength(among.length - 1)
      }
    }, soon)
  }

  test('two nodes reach each other over IPv4 and IPv6', async () => {
    const [a, b] = [machine(1), machine(2)]
    const [one, two] = [await started(a), await started(b)]
    connect([one, two])
    const begun = performance.now()
    await carrying(one, two)
    expect(performance.now() - begun).toBeLessThan(5_000)
    expect(await ping(a.host, two.entry.ip4)).toBe(true)
    expect(await ping(a.host, nodeIpv6(FLEET, two.entry.id))).toBe(true)
    const status = await one.engine.status()
    expect(status).toMatchObject({ backend: 'userspace', lastError: undefined, interface: a.iface })
    expect(status.peers[0]).toMatchObject({
      name: 'node-2',
      endpoint: `${b.host.address}:51820`,
      path: 'lan',
    })
    expect(status.peers[0]?.rxBytes).toBeGreaterThan(0)
    expect(Date.now() - Date.parse(status.peers[0]?.lastHandshake ?? '')).toBeLessThan(30_000)
    expect(await one.engine.status().then(({ peers }) => peers[0]?.ipv6)).toBe(nodeIpv6(FLEET, two.entry.id))
  })

  test('a third node does not disturb the two, and is out at once when it is removed', async () => {
    const [a, b, c] = [machine(1), machine(2), machine(3)]
    const [one, two, three] = [await started(a), await started(b), await started(c)]
    connect([one, two])
    await carrying(one, two)
    const before = await handshake(a, two.entry)
    one.calls.length = 0
    connect([one, two, three], 2)
    await carrying(one, two, three)
    expect(await ping(a.host, three.entry.ip4)).toBe(true)
    expect(await handshake(a, two.entry)).toBe(before)
    const written = JSON.stringify(
      one.calls.filter(({ program, args }) => program === 'wg' && args[0] !== 'show'),
    )
    expect(written).toContain(base64UrlToBase64(three.entry.wg))
    expect(written).not.toContain(base64UrlToBase64(two.entry.wg))

    one.engine.applyChanges({ epoch: 'test', from: 2, to: 3, del: [three.entry.id] })
    await vi.waitFor(async () => expect(await peers(a)).toEqual([base64UrlToBase64(two.entry.wg)]), soon)
    expect(await ping(c.host, one.entry.ip4)).toBe(false)
    expect(await ping(a.host, three.entry.ip4)).toBe(false)
    expect(await ping(a.host, two.entry.ip4)).toBe(true)
  })

  test('nothing is written where nothing changed', async () => {
    const [a, b] = [machine(1), machine(2)]
    const clock = new ManualClock()
    const [one, two] = [await started(a, { clock }), await started(b)]
    connect([one, two])
    await carrying(one, two)
    const reads = () => one.calls.filter(({ program, args }) => program === 'wg' && args[0] === 'show').length
    const writes = () =>
      one.calls.filter(({ program, args }) => program === 'wg' && args[0] !== 'show').length
    // A look sets the timer of the next one when it is done: time that passes before that passes it by.
    const idle = () => clock.scheduled((ms) => ms === 10_000)
    let settled = false
    void idle().then(() => {
      settled = true
    })
    // The handshake settles the search at the first look that sees it.
    await vi.waitFor(() => {
      clock.advance(1_000)
      expect(settled).toBe(true)
    }, soon)
    one.calls.length = 0
    for (let look = 1; look <= 3; look++) {
      const done = idle()
      clock.advance(10_000)
      await done
      expect(reads()).toBeGreaterThanOrEqual(look)
    }
    one.engine.applyChanges({ epoch: 'test', to: 7, put: [two.entry] })
    await vi.waitFor(() => expect(reads()).toBeGreaterThanOrEqual(4), soon)
    expect(writes()).toBe(0)
  })

  test('traffic outlives a killed agent, and the next one takes over without losing a packet', async () => {
    const [a, b] = [machine(1), machine(2)]
    const two = await started(b)
    const cache = await learn(a, [two])
    // The gateway is away throughout: all that node 1 knows is in its cache.
    const killed = a.host.spawn(process.execPath, [AGENT_PROCESS], { stdio: ['pipe', 'pipe', 'inherit'] })
    const { seed, stateDirectory, iface } = a
    const input: AgentProcessInput = { seed, stateDirectory, iface, cache }
    killed.stdin?.end(JSON.stringify(input))
    if (killed.stdout === null) throw new Error('no output')
    await once(createInterface(killed.stdout), 'line')
    await vi.waitFor(async () => expect(await ping(b.host, '10.100.0.1')).toBe(true), soon)

    const pings = startPing(b.host, '10.100.0.1')
    await pings.replies(20)
    killed.kill('SIGKILL')
    await once(killed, 'exit')
    await pings.replies(20)
    const next = await agent(a, { cache })
    expect(await next.engine.start()).toBe('adopted')
    await pings.replies(20)
    expect(await pings.lost()).toBe(0)
    expect(next.calls.filter(({ program, args }) => program === 'wg' && args[0] === 'set')).toEqual([])
  })

  test('after a reboot a node reaches its peers from its cache, while the gateway is away', async () => {
    const [a, b] = [machine(1), machine(2)]
    const [one, two] = [await started(a), await started(b)]
    connect([one, two])
    await carrying(one, two)
    await one.engine.stop({ keepInterface: false })
    const again = await started(a, { cache: one.saved.cache })
    // Node 2 still has the session of before: without being called it would keep silent for some 15 s.
    const begun = performance.now()
    await vi.waitFor(async () => expect(await ping(b.host, again.entry.ip4)).toBe(true), soon)
    expect(performance.now() - begun).toBeLessThan(10_000)
  })

  test('wireguard-go that dies is started again', async () => {
    const [a, b] = [machine(1), machine(2)]
    const [one, two] = [await started(a), await started(b)]
    connect([one, two])
    await carrying(one, two)
    for (const pid of processesIn(a.host.namespace)) process.kill(pid, 'SIGKILL')
    await vi.waitFor(async () => expect(await ping(a.host, two.entry.ip4)).toBe(true), {
      ...soon,
      timeout: 40_000,
    })
    await vi.waitFor(async () => expect((await one.engine.status()).lastError).toBeUndefined(), soon)
  })

  test('an end without `keepInterface` leaves nothing behind', async () => {
    const a = machine(1)
    const one = await started(a)
    expect(await a.host.exec('ip', 'route')).toContain(IPV4_RANGE)
    expect(await a.host.exec('ip', '-6', 'route')).toContain(a.iface)
    expect(processesIn(a.host.namespace)).toHaveLength(1)
    await one.engine.stop({ keepInterface: false })
    expect(await a.host.exec('ip', 'link')).not.toContain(a.iface)
    expect(await a.host.exec('ip', 'route')).not.toContain(IPV4_RANGE)
    expect(await a.host.exec('ip', '-6', 'route')).not.toContain(a.iface)
    expect(processesIn(a.host.namespace)).toEqual([])
    expect(existsSync(`/var/run/wireguard/${a.iface}.sock`)).toBe(false)
  })

  test('the kernel’s WireGuard is taken where there is one, else wireguard-go', async () => {
    const a = machine(1)
    const { commands } = a.host
    const { self } = await selfOf(a.seed)
    const backend = new SystemBackend({
      ...a,
      commands,
      publicKey: self.wireguard.publicKey,
      userspace: false,
    })
    expect(await backend.ensure()).toBe('created')
    expect(backend.kind).toBe(processesIn(a.host.namespace).length === 0 ? 'kernel' : 'userspace')
    // The key is not set yet: the agent was killed in between, and its note is all that tells whose the interface is.
    expect(await backend.ensure()).toBe('adopted')
    await backend.remove()
  })

  test('another’s WireGuard interface is refused and left as it is', async () => {
    const [a, b] = [machine(1), machine(2)]
    await (
      await started({ ...b, host: a.host, stateDirectory: mkdtempSync(join(directory, 'other-')) })
    ).engine.stop({
      keepInterface: true,
    })
    const look = async () => [
      await a.host.exec('wg', 'show', b.iface, 'dump'),
      // The kernel ends its search for another of the same address when it likes.
      (await a.host.exec('ip', 'address')).replaceAll(' tentative', ''),
    ]
    const before = await look()
    const one = await agent({ ...a, iface: b.iface })
    await expect(one.engine.start()).rejects.toMatchObject({ code: 'E_INTERFACE_TAKEN' })
    await one.engine.stop({ keepInterface: false })
    expect(await look()).toEqual(before)
  })

  test('the name of an interface in another namespace is refused where the two share their files', async () => {
    const [a, b] = [machine(1), machine(2)]
    await started(a)
    const before = await a.host.exec('wg', 'show', a.iface, 'dump')
    const two = await agent({ ...b, iface: a.iface, stateDirectory: mkdtempSync(join(directory, 'other-')) })
    await expect(two.engine.start()).rejects.toMatchObject({ code: 'E_INTERFACE_TAKEN' })
    expect(await a.host.exec('wg', 'show', a.iface, 'dump')).toBe(before)
  })

  test('an interface that is not WireGuard’s is refused', async () => {
    const a = machine(1)
    await a.host.exec('ip', 'link', 'add', a.iface, 'type', 'bridge')
    const one = await agent(a)
    await expect(one.engine.start()).rejects.toMatchObject({ code: 'E_INTERFACE_TAKEN' })
  })

  test('a route into the fleet’s range is named, and nothing is made', async () => {
    const a = machine(1)
    await a.host.exec('ip', 'route', 'add', '10.100.3.0/24', 'via', '198.18.0.77')
    const one = await agent(a)
    await expect(one.engine.start()).rejects.toMatchObject({
      code: 'E_ROUTE_CONFLICT',
      why: 'it has the route 10.100.3.0/24 via 198.18.0.77 dev eth0',
    })
    expect(await a.host.exec('ip', 'link')).not.toContain(a.iface)
  })

  test('a port in use is named, and nothing is left behind', async () => {
    const [a, b] = [machine(1), machine(2)]
    await started(a)
    const fleet = { id: FLEET, ipv4Range: '10.101.0.0/16' }
    const self = { ...(await selfOf(b.seed)).self, ipv4: Ipv4.parse('10.101.0.2') }
    const other = await agent({ ...b, host: a.host }, { change: { fleet, self } })
    // The fleets share an IPv6 prefix only because the test gives them one id.
    await expect(other.engine.start()).rejects.toMatchObject({ code: 'E_ROUTE_CONFLICT' })
    await a.host.exec('ip', '-6', 'route', 'flush', 'dev', a.iface)
    await a.host.exec('ip', '-6', 'address', 'flush', 'dev', a.iface)
    await expect(other.engine.start()).rejects.toMatchObject({ code: 'E_PORT_IN_USE' })
    expect(await a.host.exec('ip', 'link')).not.toContain(b.iface)
  })

  test('a key that `wg` refuses costs its own peer only', async () => {
    const a = machine(1)
    const one = await started(a)
    const [two, three] = [await selfOf(newSeed(2)), await selfOf(newSeed(3))]
    // Bits after the 256th: the protocol lets no such key through, and `wg` none of a file with one.
    const spoiled = { ...two.entry, wg: `${'A'.repeat(42)}B` as WireGuardKey }
    one.engine.applyChanges({ epoch: 'e', to: 1, put: [spoiled, three.entry] })
    await vi.waitFor(async () => {
      const peers = (await a.host.exec('wg', 'show', a.iface, 'peers')).trim()
      expect(peers).toBe(base64UrlToBase64(three.entry.wg))
      expect((await one.engine.status()).lastError).toContain(spoiled.id)
    }, soon)
  })

  test('the private key is in no argument list', async () => {
    const a = machine(1)
    const one = await started(a)
    const key = Buffer.from(a.seed.wireguard, 'hex').toString('base64')
    expect((await a.host.exec('wg', 'show', a.iface, 'private-key')).trim()).toBe(key)
    expect(JSON.stringify(one.calls.map(({ program, args }) => [program, args]))).not.toContain(
      key.slice(0, 20),
    )
    expect(one.calls.filter(({ input }) => input === key)).toHaveLength(1)
  })

  /** What node `a` would have in its cache after a session with the others. */
  async function learn(a: Machine, others: readonly TestNode[]): Promise<string> {
    const first = await started(a)
    connect([first, ...others])
    await carrying(first, ...others)
    await first.engine.stop({ keepInterface: false })
    return first.saved.cache ?? ''
  }
})

const ping = (from: Host, address: string): Promise<boolean> =>
  from.exec('ping', '-c', '1', '-W', '1', address).then(
    () => true,
    () => false,
  )

const peers = async ({ host, iface }: Machine): Promise<string[]> =>
  (await host.exec('wg', 'show', iface, 'peers')).trim().split('\n')

async function handshake({ host, iface }: Machine, { wg }: MeshPeer): Promise<string | undefined> {
  const lines = (await host.exec('wg', 'show', iface, 'latest-handshakes')).split('\n')
  return lines.find((line) => line.startsWith(base64UrlToBase64(wg)))
}
