/** What is told to nftables, and what becomes of peers where there is none. For what it does see rules.netns.test.ts. */
import { describe, expect, test, vi } from 'vitest'
import { CommandError, type Commands } from '../../agent/mesh/exec.ts'
import { Firewall } from '../../agent/mesh/firewall.ts'
import { compileTable, type FirewallPlan } from '../../agent/mesh/firewall-script.ts'
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import { Cidr, Ipv4, Ipv6 } from '../../protocol/ids.ts'
import type { MeshRule } from '../../protocol/mesh.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { FakeWireGuard } from './fake-wireguard.ts'
import { newSeed, selfOf, testNode } from './mesh-node.ts'

const soon = { timeout: 5_000, interval: 5 }
const ANY: MeshRule = { from: [8], allow: [{ proto: 'any' }] }
const SSH: MeshRule = { from: [7], allow: [{ proto: 'tcp', ports: [[22, 22]] }] }
const BEYOND: MeshRule = { from: [9], to: Cidr.array().parse(['192.168.7.0/24']), allow: [{ proto: 'any' }] }

const plan: FirewallPlan = {
  iface: 'claw0',
  ipv4: Ipv4.parse('10.100.0.1'),
  ipv6: Ipv6.parse('fd00::1'),
  fleet: ['10.100.0.0/16', 'fd00::/48'],
  rules: [SSH, ANY],
  peers: [{ addresses: ['10.100.0.7', 'fd00::7'], class: 7 }],
  routes: [],
  masquerade: true,
  opened: [],
}

/** Records what `nft` is told; `fail` makes it refuse the next script. */
class FakeNft implements Commands {
  readonly scripts: string[] = []
  tables = ''
  fail = false

  async run(_: string, args: readonly string[], input?: Uint8Array): Promise<Uint8Array> {
    if (args[0] === 'list') return Buffer.from(this.tables)
    const fails = this.fail
    this.fail = false
    this.scripts.push(Buffer.from(input ?? []).toString())
    if (fails) throw new CommandError('nft', 'failed', { status: 'status 1', stderr: 'Error: No such file' })
    this.tables = 'table inet claw_claw0_rules\n'
    return new Uint8Array()
  }

  launch(): never {
    throw new Error('nothing is started here')
  }
}

describe('the table', () => {
  const firewall = () => {
    const [nft, clock] = [new FakeNft(), new ManualClock()]
    return { nft, clock, firewall: new Firewall({ commands: nft, iface: 'claw0', clock }) }
  }

  test('is written once, whole where its rules change, and by elements where only peers do', async () => {
    const { nft, firewall: wall } = firewall()
    await wall.follow(plan)
    await wall.follow(plan)
    expect(nft.scripts).toHaveLength(1)
    expect(nft.scripts[0]).toMatch(
      /^table inet claw_claw0_rules \{\}\ndelete table inet claw_claw0_rules\ntable inet claw_claw0_rules \{/,
    )
    await wall.follow({ ...plan, peers: [{ addresses: ['10.100.0.8', 'fd00::8'], class: 8 }] })
    expect(nft.scripts[1]).toBe(
      [
        'delete element inet claw_claw0_rules sources4 { 10.100.0.7 : goto class_7 }',
        'delete element inet claw_claw0_rules sources6 { fd00::7 : goto class_7 }',
        'add element inet claw_claw0_rules sources4 { 10.100.0.8 : goto class_8 }',
        'add element inet claw_claw0_rules sources6 { fd00::8 : goto class_8 }',
        '',
      ].join('\n'),
    )
    await wall.follow({ ...plan, rules: [SSH] })
    expect(nft.scripts[2]).toContain('delete table')
  })

  test('comes back when somebody has taken it away, and whole when an element does not fit', async () => {
    const { nft, clock, firewall: wall } = firewall()
    await wall.follow(plan)
    nft.tables = 'table inet claw_claw0_rules1\ntable ip claw_claw0_rules\n'
    clock.advance(5_000)
    await wall.follow(plan)
    expect(nft.scripts).toHaveLength(2)
    nft.fail = true
    expect(await wall.follow({ ...plan, peers: [] })).toBeUndefined()
    expect(nft.scripts.slice(2).map((script) => script.split(' ', 2).join(' '))).toEqual([
      'delete element',
      'table inet',
    ])
  })

  test('that could not be written is not taken for one that is there', async () => {
    const { nft, firewall: wall } = firewall()
    nft.fail = true
    expect(await wall.follow(plan)).toBe('nft exited with status 1: Error: No such file')
    expect(await wall.follow(plan)).toBeUndefined()
    expect(nft.scripts).toHaveLength(2)
  })

  test('is removed only by the agent that has made it', async () => {
    const { nft, firewall: wall } = firewall()
    await wall.remove()
    expect(nft.scripts).toEqual([])
    await wall.follow(plan)
    await wall.remove()
    expect(nft.scripts[1]).toContain('delete table inet claw_claw0_rules')
  })

  test('knows a peer of a class without rules by no element, and names no network that is not served', () => {
    const { sources, body } = compileTable({
      ...plan,
      rules: [BEYOND],
      peers: [{ addresses: ['10.100.0.7'], class: 7 }],
    })
    expect(sources.size).toBe(0)
    expect(body).toContain('ct original ip daddr != { 10.100.0.1 } return')
  })
})

describe('where nothing enforces the rules', () => {
  const wireguard = new FakeWireGuard()
  const without: Commands = {
    run: (program, args, input) =>
      program === 'nft'
        ? Promise.reject(new CommandError('nft', 'missing'))
        : wireguard.run(program, args, input),
    launch: () => wireguard.launch(),
  }

  test('only peers that may send everything are let in, and the others are named with the reason, also from the cache', async () => {
    const make = (cache?: string) =>
      testNode({
        seed: newSeed(1),
        commands: without,
        stateDirectory: '/nonexistent',
        iface: 'claw0',
        clock: new ManualClock(),
        cache,
        change: { backend: wireguard },
      })
    const node = await make()
    await node.engine.start()
    const [seven, eight, nine] = await Promise.all(
      [7, 8, 9].map(async (number) => ({ ...(await selfOf(newSeed(number))).entry, class: number })),
    )
    if (seven === undefined || eight === undefined || nine === undefined) throw new Error('no peers')
    node.engine.applyChanges({ epoch: 'e', to: 1, put: [seven, eight, nine], rules: null })
    await vi.waitFor(() => expect(wireguard.peers.size).toBe(3), soon)
    const enforced = async (engine: typeof node.engine) => {
      await vi.waitFor(() => expect([...wireguard.peers.keys()]).toEqual([base64UrlToBase64(eight.wg)]), soon)
      await vi.waitFor(async () => {
        const { lastError } = await engine.status()
        for (const { id } of [seven, nine]) expect(lastError).toContain(id)
        expect(lastError).toContain('nothing enforces that: `nft` is not installed (package nftables)')
      }, soon)
    }
    node.engine.applyChanges({ epoch: 'e', from: 1, to: 2, rules: [SSH, ANY, BEYOND] })
    await enforced(node.engine)
    await node.engine.stop({ keepInterface: true })
    wireguard.peers.clear()
    const again = await make(node.saved.cache)
    await again.engine.start()
    await enforced(again.engine)
    await again.engine.stop({ keepInterface: true })
  })
})
