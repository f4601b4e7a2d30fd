/** Paths that swallow what is too large, without a word: packets to peers are of the size that arrives. Real WireGuard, agents in their namespaces. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { formatCache } from '../../agent/mesh/cache.ts'
import { MeshMap } from '../../agent/mesh/map.ts'
import { nodeIpv6 } from '../../protocol/addresses.ts'
import { Endpoint } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { canMakeNamespaces, type Host, Lan, uniqueInterface } from '../support/netns.ts'
import type { AgentProcessInput } from './agent-process.ts'
import { FLEET, type NodeSeed, newSeed, selfOf } from './mesh-node.ts'
import { echoes, serve } from './traffic.ts'

const AGENT_PROCESS = join(import.meta.dirname, 'agent-process.ts')
const soon = { timeout: 30_000, interval: 100 }

describe.skipIf(!canMakeNamespaces)('the size of packets (needs root and /dev/net/tun)', () => {
  let lan: Lan
  let directory: string

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'claw-mtu-'))
    lan = new Lan()
  })

  afterEach(() => {
    lan.destroy()
    rmSync(directory, { recursive: true })
  })

  /** Started from its cache, as if the gateway were away. @returns its interface. */
  async function agent(on: Host, seed: NodeSeed, peer: MeshPeer, endpoint: string): Promise<string> {
    const map = new MeshMap()
    map.fold({ epoch: 'e', to: 1, put: [peer] })
    const known = new Map([[peer.id, { endpoints: [Endpoint.parse(endpoint)], at: 1 }]])
    const iface = uniqueInterface()
    const input: AgentProcessInput = {
      seed,
      stateDirectory: directory,
      iface,
      cache: formatCache({ map, known, approved: [] }),
    }
    const child = on.spawn(process.execPath, [AGENT_PROCESS], { stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin?.end(JSON.stringify(input))
    if (child.stdout === null) throw new Error('no output')
    await once(createInterface(child.stdout), 'line')
    return iface
  }

  test.each([
    { underlay: 1280, inner: 1216 },
    { underlay: 1400, inner: 1328 },
  ])(
    'is what a path of $underlay carries, and 1 MiB passes in both families',
    async ({ underlay, inner }) => {
      const [a, router, b] = [lan.addHost(), lan.addHost(), lan.addHost()]
      await wire(a, router, 1, 1500)
      await wire(b, router, 2, underlay)
      await router.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1')
      await router.exec(
        'nft',
        'add table inet mute { chain out { type filter hook output priority 0; icmp type destination-unreachable drop; }; }',
      )
      const [one, two] = [newSeed(1), newSeed(2)]
      const [entryA, entryB] = [(await selfOf(one)).entry, (await selfOf(two)).entry]
      const ifaces = [
        await agent(a, one, entryB, '192.168.2.2:51820'),
        await agent(b, two, entryA, '192.168.1.2:51820'),
      ]
      await serve(b, 7001)
      await vi.waitFor(async () => {
        const routes = await Promise.all([
          a.exec('ip', 'route', 'show', 'dev', ifaces[0] ?? ''),
          b.exec('ip', 'route', 'show', 'dev', ifaces[1] ?? ''),
        ])
        for (const text of routes) {
          if (inner === undefined) expect(text).not.toContain('mtu')
          else expect(text).toMatch(new RegExp(`^10\\.100\\.0\\.[12] .*mtu ${inner}`, 'm'))
        }
      }, soon)
      expect(await echoes(a, entryB.ip4, 7001, 1024 * 1024)).toBe(true)
      expect(await echoes(a, nodeIpv6(FLEET, entryB.id), 7001, 1024 * 1024)).toBe(true)
    },
  )
})

/** The machine’s own wire to the router; what the router’s end does not take, the wire drops. */
async function wire(host: Host, router: Host, number: number, mtu: number): Promise<void> {
  const port = `net${number}`
  await host.exec('ip', 'link', 'delete', 'eth0')
  await router.exec(
    'ip',
    'link',
    'add',
    port,
    'mtu',
    String(mtu),
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    host.namespace,
  )
  await host.exec('ip', 'address', 'add', `192.168.${number}.2/24`, 'dev', 'eth0')
  await host.exec('ip', 'link', 'set', 'eth0', 'mtu', '1500', 'up')
  await host.exec('ip', 'route', 'add', 'default', 'via', `192.168.${number}.1`)
  await router.exec('ip', 'address', 'add', `192.168.${number}.1/24`, 'dev', port)
  await router.exec('ip', 'link', 'set', port, 'up')
}
