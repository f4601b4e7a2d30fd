/** A device without an agent, as its owner would use it: `wg-quick up` of the exported file, on real WireGuard, beside a node of the mesh. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { wgQuickConfig } from '../../cli/mesh/wg-quick.ts'
import { toBase64 } from '../../crypto/bytes.ts'
import { importSealingKey } from '../../crypto/hpke.ts'
import { openMeshAnswer } from '../../crypto/mesh-answer.ts'
import { externalPeerIdOf } from '../../crypto/node-id.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { nodeIpv6 } from '../../protocol/addresses.ts'
import { Ipv4, type NodeId, NodeName, SealingKey, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshAnswer } from '../../protocol/mesh-report.ts'
import { canMakeNamespaces, type Host, Lan, uniqueInterface } from '../support/netns.ts'
import { FLEET, newSeed, nodeId, selfOf, type TestNode, testNode } from './mesh-node.ts'

const soon = { timeout: 30_000, interval: 100 }
const USERSPACE = ['WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go', 'LC_ALL=C']

describe.skipIf(!canMakeNamespaces)('a phone (needs root and /dev/net/tun)', () => {
  let lan: Lan
  let directory: string
  let node: TestNode
  let server: Host
  let phone: Host

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'claw-phone-'))
    lan = new Lan()
    server = lan.addHost()
    phone = lan.addHost()
    const iface = uniqueInterface()
    const options = { seed: newSeed(1), commands: server.commands, stateDirectory: directory, iface }
    node = await testNode(options)
    await node.engine.start()
  })

  afterAll(async () => {
    await node?.engine.stop({ keepInterface: false })
    lan?.destroy()
    rmSync(directory, { recursive: true })
  })

  const ask = async (to: NodeId): Promise<MeshAnswer> => {
    const secret = generateX25519()
    const sealTo = SealingKey.parse(await x25519PublicKey(secret))
    const request = 'r'.repeat(22)
    const sealed = await node.engine.answer({ type: 'mesh_ping', request, sealTo, to })
    const about = { fleet: FLEET, node: node.entry.id, request }
    const opened = await openMeshAnswer(await importSealingKey(secret), sealed ?? '', about, node.entry.seal)
    if (!opened.ok) throw new Error('not sealed for us')
    return opened.value
  }

  test('pings a node over IPv4 and IPv6, and the node pings it and says by which path', async () => {
    const privateKey = generateX25519()
    const wg = WireGuardKey.parse(await x25519PublicKey(privateKey))
    const id = await externalPeerIdOf(wg)
    const device = {
      name: NodeName.parse('phone'),
      ipv4: Ipv4.parse('10.100.0.77'),
      ipv6: nodeIpv6(FLEET, id),
    }
    const reached = {
      name: node.entry.name,
      wg: node.entry.wg,
      ipv4: node.entry.ip4,
      ipv6: nodeIpv6(FLEET, node.entry.id),
      endpoint: `${server.address}:51820`,
    }
    const file = join(directory, `${uniqueInterface()}.conf`)
    writeFileSync(file, wgQuickConfig({ ...device, privateKey: toBase64(privateKey.expose()) }, [reached]), {
      mode: 0o600,
    })
    node.engine.applyChanges({ epoch: 'e', to: 1, put: [{ id, name: device.name, wg, ip4: device.ipv4 }] })
    await phone.exec('env', ...USERSPACE, 'wg-quick', 'up', file)
    for (const address of [reached.ipv4, reached.ipv6])
      await vi.waitFor(() => phone.exec('ping', '-c', '1', '-W', '2', address), soon)
    expect(await ask(id)).toMatchObject({
      kind: 'ping',
      sent: 3,
      received: 3,
      rttMs: { min: expect.any(Number) },
      pair: { peer: id, path: 'direct', endpoint: expect.stringMatching(`^${phone.address}:`) },
    })
    // Taken out of the map it is cut off, whatever its configuration says.
    node.engine.applyChanges({ epoch: 'e', from: 1, to: 2, del: [id] })
    await vi.waitFor(
      () => expect(phone.exec('ping', '-c', '1', '-W', '1', reached.ipv4)).rejects.toThrow(),
      soon,
    )
    await phone.exec('env', ...USERSPACE, 'wg-quick', 'down', file)
  })

  test('a peer that is nowhere gives no echo, which is an answer', async () => {
    const { entry } = await selfOf(newSeed(2))
    node.engine.applyChanges({ epoch: 'e', from: 2, to: 3, put: [entry] })
    await vi.waitFor(async () => expect((await node.engine.status()).peers).toHaveLength(1), soon)
    expect(await ask(entry.id)).toMatchObject({ kind: 'ping', received: 0, pair: { path: 'none' } })
    expect(await ask(nodeId(99))).toEqual({ kind: 'refusal', code: 'unknown_peer' })
  })
})
