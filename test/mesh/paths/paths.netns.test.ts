/** Paths on a small Internet: real WireGuard behind real NATs, a real STUN server, and one engine a machine. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { PeerStatus } from '../../../agent/mesh/peer-status.ts'
import { firewall, NatLab, type Router } from '../../support/nat-lab.ts'
import { canMakeNamespaces, type Host } from '../../support/netns.ts'
import { STUN_PORT, startStunServer } from '../../support/stun-server.ts'
import { awaitPath, LabFleet, LabNode } from '../lab-node.ts'

describe.skipIf(!canMakeNamespaces)('paths (needs root and /dev/net/tun)', () => {
  let lab: NatLab
  let directory: string
  let nodes: LabNode[] = []
  let fleet: LabFleet
  let home: Router
  let [open, guarded, desktop, laptop, distant, symmetric, sixOnly]: LabNode[] = []

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
    distant = node(lab.addRouter('port-restricted').addHost())
    symmetric = node(lab.addRouter('symmetric').addHost())
    sixOnly = node(lab.addHost('ipv6'))
    firewall(guarded.host, 51_820)
    await Promise.all(nodes.map((each) => each.start()))
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
    ['both are public', () => pair(open, guarded), 'direct', ({ endpoint }) => expect(endpoint).toMatch(/:51820$/)],
    ['one is behind a port-restricted NAT', () => pair(desktop, open), 'direct', () => {}],
    ['both are, each behind its own', () => pair(desktop, distant), 'punched', () => {}],
    ['one is behind a symmetric NAT', () => pair(symmetric, open), 'direct', () => {}],
    [
      'both are behind the same NAT',
      () => pair(desktop, laptop),
      'lan',
      ({ endpoint }) => expect(endpoint).toMatch(/^192\.168\./),
    ],
    ['the host has a firewall that lets WireGuard’s port in', () => pair(desktop, guarded), 'direct', () => {}],
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
    expect(await a.host.exec('ping', '-c', '3', '-i', '0.05', '-W', '2', b.entry.ip4)).toContain(' 0% packet loss')
  })
})
