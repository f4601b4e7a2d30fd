/** Nodes that leave: one whose agent runs, one whose agent was killed, one of which only rules and names are left. Of none anything stays. */
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { eventually } from '../../demo/eventually.ts'
import { Lab, type Machine } from '../../demo/lab.ts'
import { EXIT } from '../../host/user-error.ts'
import { AuditList } from '../../protocol/audit.ts'
import { canMakeNamespaces, ip, plug, processesIn } from '../support/netns.ts'

const NETWORK = '192.168.7.0/24'
const soon = { timeout: 30_000, interval: 100 }

describe.skipIf(!canMakeNamespaces)('a node that leaves (needs root and /dev/net/tun)', () => {
  let lab: Lab
  let machines: Machine[]
  let hostsBefore: string

  beforeAll(async () => {
    lab = new Lab()
    await lab.startGateway()
    const token = lab.file('join.token', await lab.clawOutput(['token', 'create', '--uses', '4']))
    machines = ['stays', 'runs', 'killed', 'remnant'].map((name) => lab.addMachine(name))
    hostsBefore = at('runs').host.hostsFile
    const { namespace } = at('killed').host
    plug(namespace, 'lan', lab.addHost().namespace, 'eth1')
    ip('-n', namespace, 'address', 'add', '192.168.7.1/24', 'dev', 'lan')
    for (const machine of machines) {
      await machine.join(token)
      machine.start(machine.name === 'killed' ? ['--route', NETWORK] : [])
    }
    await vi.waitFor(async () => {
      for (const machine of machines) expect(await peersOf(machine)).toHaveLength(3)
    }, soon)
    await lab.clawOutput(['node', 'routes', 'killed', '--approve', NETWORK])
    await vi.waitFor(async () => expect(await forwarding()).toBe('1'), soon)
  })
  afterAll(() => lab?.destroy())

  const at = (name: string) => machines.find((one) => one.name === name) ?? expect.fail(name)
  const linksOf = async ({ host }: Machine) =>
    (JSON.parse(await host.exec('ip', '-j', 'link')) as { ifname: string }[])
      .map(({ ifname }) => ifname)
      .filter((name) => !['lo', 'eth0', 'lan'].includes(name))
  const peersOf = async ({ host, interface: iface }: Machine) =>
    (await host.exec('wg', 'show', iface, 'peers')).split('\n').filter(Boolean)
  const forwarding = async () =>
    (await at('killed').run('sysctl', '-n', 'net.ipv4.conf.lan.forwarding')).trim()
  const named = (machine: Machine) => machine.host.hostsFile.includes('fleet.internal')
  const keyOf = async (machine: Machine) =>
    (await machine.run('wg', 'show', machine.interface, 'public-key')).trim()

  async function nothingIsLeftOf(machine: Machine, key: string): Promise<void> {
    expect(existsSync(machine.directory)).toBe(false)
    expect(await linksOf(machine)).toEqual([])
    expect(await machine.run('nft', 'list', 'ruleset')).toBe('')
    expect(machine.host.hostsFile).toBe(hostsBefore)
    expect(existsSync(`/var/run/wireguard/${machine.interface}.sock`)).toBe(false)
    await vi.waitFor(() => expect(processesIn(machine.host.namespace)).toEqual([]), soon)
    expect((await lab.nodes()).map(({ name }) => name)).not.toContain(machine.name)
    const { seen } = await eventually(
      30_000,
      () => peersOf(at('stays')),
      (peers) => !peers.includes(key),
    )
    expect(seen).not.toContain(key)
  }

  test('takes everything with it while its agent runs, which ends by itself', async () => {
    const machine = at('runs')
    const key = await keyOf(machine)
    await vi.waitFor(() => expect(named(machine)).toBe(true), soon)
    expect(await peersOf(at('stays'))).toContain(key)
    await machine.leave()
    expect(await machine.ended(), lab.log('runs')).toBe(EXIT.revoked)
    await nothingIsLeftOf(machine, key)
  })

  test('takes what its agent has left that was killed: interface, process, rules, names, forwarding', async () => {
    const machine = at('killed')
    const key = await keyOf(machine)
    await vi.waitFor(() => expect(named(machine)).toBe(true), soon)
    await machine.end('SIGKILL')
    expect(await linksOf(machine)).toEqual([machine.interface])
    expect(await machine.run('nft', 'list', 'tables')).toContain(machine.interface)
    expect([processesIn(machine.host.namespace).length, await forwarding()]).toEqual([1, '1'])
    await machine.leave()
    await nothingIsLeftOf(machine, key)
    expect(await forwarding()).toBe('0')
  })

  test('takes rules and names whose interface is gone with its process', async () => {
    const machine = at('remnant')
    const key = await keyOf(machine)
    await vi.waitFor(() => expect(named(machine)).toBe(true), soon)
    await machine.end('SIGKILL')
    for (const pid of processesIn(machine.host.namespace)) process.kill(pid, 'SIGKILL')
    await vi.waitFor(async () => expect(await linksOf(machine)).toEqual([]), soon)
    expect(await machine.run('nft', 'list', 'tables')).toContain(machine.interface)
    await machine.leave()
    await nothingIsLeftOf(machine, key)
  })

  test('is in the trail by its own word', async () => {
    const listed = await lab.clawOutput(['audit', 'ls', '--action', 'node.leave', '-o', 'json'])
    const { items } = AuditList.parse(JSON.parse(listed))
    expect(items.map(({ detail }) => detail?.['name']).sort()).toEqual(['killed', 'remnant', 'runs'])
    for (const { actor, target } of items) expect(actor).toBe(target)
    expect((await lab.nodes()).map(({ name }) => name)).toEqual(['stays'])
  })
})
