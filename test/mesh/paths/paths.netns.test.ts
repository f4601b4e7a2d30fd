/** Paths on a small Internet: real WireGuard behind real NATs, a real STUN server, and one engine a machine. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { PeerStatus } from '../../../agent/mesh/peer-status.ts'
import { firewall, NatLab, type Router } from '../../support/nat-lab.ts'
import { canMakeNamespaces, type Host } from '../../support/netns.ts'
import { type Outcome, type Packets, startPackets } from '../../support/packets.ts'
import { STUN_PORT, startStunServer } from '../../support/stun-server.ts'
import { startTransfer, type Transfer } from '../../support/transfer.ts'
import { awaitPath, LabFleet, LabNode } from '../lab-node.ts'

const soon = { timeout: 20_000, interval: 100 }

describe.skipIf(!canMakeNamespaces)('paths (needs root and /dev/net/tun)', () => {
  let lab: NatLab
  let directory: string
  let nodes: LabNode[] = []
  let fleet: LabFleet
  let home: Router
  let distantRouter: Router
  let [open, guarded, desktop, laptop, distant, symmetric, sixOnly, roamer]: LabNode[] = []

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'claw-paths-'))
    lab = new NatLab()
    await startStunServer(lab.backbone, ['198.18.0.1', '198.18.0.2', '2001:db8::1'])
    const stun = [`198.18.0.1:${STUN_PORT}`, `198.18.0.2:${STUN_PORT}`, `[2001:db8::1]:${STUN_PORT}`]
    const node = (host: Host): LabNode => {
      const made = new LabNode({ host, number: nodes.length + 1, stateDirectory: directory, input: { stun } })
      nodes.push(made)
      return made
    }
    home = lab.addRouter('port-restricted')
    open = node(lab.addHost())
    guarded = node(lab.addHost())
    desktop = node(home.addHost())
    laptop = node(home.addHost())
    distantRouter = lab.addRouter('port-restricted')
    distant = node(distantRouter.addHost())
    symmetric = node(lab.addRouter('symmetric').addHost())
    sixOnly = node(lab.addHost('ipv6'))
    roamer = node(lab.addHost('ipv4'))
    firewall(guarded.host, 51_820)
    await Promise.all(nodes.map((each) => each.start()))
    await measure(new LabFleet(pair(desktop, distant)))
    fleet = new LabFleet(nodes)
    fleet.connect()
  }, 120_000)

  afterAll(async () => {
    await Promise.all(nodes.map((each) => each.stop()))
    nodes = []
    lab.destroy()
    rmSync(directory, { recursive: true, force: true })
  })

  const pair = (a: LabNode | undefined, b: LabNode | undefined): [LabNode, LabNode] => {
    if (a === undefined || b === undefined) throw new Error('the lab is not built')
    return [a, b]
  }

  test.each<[string, () => [LabNode, LabNode], PeerStatus['path'], (at: PeerStatus) => void]>([
    [
      'both are public',
      () => pair(open, guarded),
      'direct',
      ({ endpoint }) => expect(endpoint).toMatch(/:51820$/),
    ],
    ['one is behind a port-restricted NAT', () => pair(desktop, open), 'direct', () => {}],
    ['both are, each behind its own', () => pair(desktop, distant), 'punched', () => {}],
    ['one is behind a symmetric NAT', () => pair(symmetric, open), 'direct', () => {}],
    [
      'both are behind the same NAT',
      () => pair(desktop, laptop),
      'lan',
      ({ endpoint }) => expect(endpoint).toMatch(/^192\.168\./),
    ],
    [
      'the host has a firewall that lets WireGuard’s port in',
      () => pair(desktop, guarded),
      'direct',
      () => {},
    ],
    [
      'one has IPv6 alone',
      () => pair(sixOnly, open),
      'direct',
      ({ endpoint }) => expect(endpoint).toMatch(/^\[2001:db8:/),
    ],
  ])('when %s', async (_, between, path, check) => {
    const [a, b] = between()
    const seen = await awaitPath([a, b], path)
    check(seen)
    expect(seen).toMatchObject({ reason: null, hint: null })
    expect(seen.latencyMs).toBeGreaterThan(0)
    expect(await a.host.exec('ping', '-c', '3', '-i', '0.05', '-W', '2', b.entry.ip4)).toContain(
      ' 0% packet loss',
    )
  })

  test('no direct path between a symmetric NAT and a port-restricted one: said why, and how to help it', async () => {
    const [a, b] = pair(symmetric, desktop)
    await vi.waitFor(async () => {
      const [one, two] = [await a.peer(b), await b.peer(a)]
      expect(one).toMatchObject({ path: 'none', reason: 'symmetric-nat', latencyMs: null })
      expect(two).toMatchObject({ path: 'none', reason: 'symmetric-nat' })
      expect(one.hint).toContain('public_endpoint')
    }, soon)
  })

  test('an address roams, and a transfer goes on', async () => {
    const [a, b] = pair(roamer, open)
    await awaitPath([a, b], 'direct')
    const packets = await startPackets(b.host, a.host, a.entry.ip4)
    const transfer = await startTransfer(b.host, a.host, a.entry.ip4)
    await packets.replies(50)
    const address = lab.roam(a.host)
    await packets.replies(100)
    await vi.waitFor(async () => {
      expect(await b.peer(a)).toMatchObject({ path: 'direct', endpoint: `${address}:51820` })
    }, soon)
    await endTransfer('an address roams', packets, transfer, 10_000)
  })

  test('a NAT gives the port another mapping, and a transfer goes on', async () => {
    const [a, b] = pair(desktop, distant)
    await awaitPath([a, b], 'punched')
    // The side whose mapping is lost is the one that only receives: nothing but acknowledgements and probes of its own make another.
    const packets = await startPackets(b.host, a.host, a.entry.ip4)
    const transfer = await startTransfer(b.host, a.host, a.entry.ip4)
    await packets.replies(50)
    home.rebind()
    await packets.replies(100)
    await vi.waitFor(async () => {
      const { path, endpoint } = await b.peer(a)
      expect({ path, endpoint }).toEqual({ path: 'punched', endpoint: expect.stringMatching(/:30\d{3}$/) })
    }, soon)
    await endTransfer('a NAT rebinds', packets, transfer, 10_000)
  })

  test('a path that dies is left for another within ten seconds', async () => {
    const [a, b] = pair(open, guarded)
    const before = await awaitPath([a, b], 'direct')
    const family = before.endpoint?.startsWith('[') === true ? 'ip6' : 'ip'
    const packets = await startPackets(a.host, b.host, b.entry.ip4)
    await packets.replies(50)
    // Not at the two ends, which would notice: on the way.
    await lab.backbone.exec(
      'nft',
      `add table inet cut; add chain inet cut f { type filter hook forward priority 0; }; add rule inet cut f meta nfproto ${family === 'ip' ? 'ipv4' : 'ipv6'} udp dport 51820 drop`,
    )
    await packets.replies(100)
    const after = await awaitPath([a, b], 'direct')
    expect(after.endpoint?.startsWith('[')).toBe(family === 'ip')
    await lab.backbone.exec('nft', 'delete', 'table', 'inet', 'cut')
    const outcome = report('a path dies', await packets.finish())
    expect(outcome.longestGapMs).toBeLessThan(10_000)
  })

  test('an agent that stops leaves no rule behind, and one that starts finds its paths again', async () => {
    const [a, b] = pair(symmetric, open)
    await a.stop()
    expect(await a.host.exec('nft', 'list', 'tables')).toBe('')
    await a.start()
    fleet.connect([a])
    await awaitPath([a, b], 'direct')
  })

  test('a node without nftables is reached by WireGuard’s own means, from behind a NAT as well', async () => {
    const [a, b] = pair(guarded, desktop)
    await a.stop()
    await a.start({ noPort: true })
    expect(await a.host.exec('nft', 'list', 'tables')).not.toContain('_paths')
    fleet.connect([a])
    await awaitPath([a, b], 'direct')
    expect(await a.host.exec('ping', '-c', '1', '-W', '2', b.entry.ip4)).toContain(' 0% packet loss')
  })

  test('where UDP is blocked, that is the reason', async () => {
    const [a, b] = pair(distant, open)
    distantRouter.blockUdp()
    await a.stop()
    await a.start()
    fleet.connect([a])
    await vi.waitFor(
      async () => expect(await a.peer(b)).toMatchObject({ path: 'none', reason: 'udp-blocked' }),
      soon,
    )
  })

  async function endTransfer(
    what: string,
    packets: Packets,
    transfer: Transfer,
    most: number,
  ): Promise<void> {
    const { sent, received } = await transfer.finish()
    expect(received).toBe(sent)
    expect(received).toMatch(/^[1-9][0-9]{5,} [0-9a-f]{64}$/)
    expect(report(what, await packets.finish()).longestGapMs).toBeLessThan(most)
  }
})

/** How long it takes from when both hear of each other to a handshake over the direct path. Printed: the machine is shared. */
async function measure(fleet: LabFleet): Promise<void> {
  const times: number[] = []
  for (let round = 0; round < 3; round++) {
    const begun = performance.now()
    fleet.connect()
    const [a, b] = fleet.nodes as readonly [LabNode, LabNode]
    await awaitPath([a, b], 'punched')
    times.push(Math.round(performance.now() - begun))
    fleet.reset()
    await vi.waitFor(async () => expect((await b.status()).peers).toEqual([]), soon)
  }
  process.stdout.write(`  two port-restricted NATs: direct after ${times.join(', ')} ms\n`)
}

/** For whoever reads the test's output. */
function report(what: string, outcome: Outcome): Outcome {
  const { sent, lost, longestGapMs } = outcome
  process.stdout.write(
    `  ${what}: ${lost} of ${sent} packets lost, at 100 a second; ${longestGapMs} ms without any\n`,
  )
  return outcome
}
