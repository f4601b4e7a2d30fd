/** A WireGuard key changes while traffic flows: on real WireGuard, with a gateway's part that takes its time. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { canMakeNamespaces, type Host, Lan, uniqueInterface } from '../support/netns.ts'
import { startPing } from '../support/traffic.ts'
import { connect, type NodeSeed, newSeed, selfOf, type TestNode, testNode } from './mesh-node.ts'

const soon = { timeout: 20_000, interval: 50 }
/** What a signal takes by way of a gateway. */
const SIGNAL_MS = 40

type KeyPair = Parameters<TestNode['take']>[0]
type TestMachine = TestNode & { readonly host: Host; readonly seed: NodeSeed }

describe.skipIf(!canMakeNamespaces)('a WireGuard key that changes (needs root and /dev/net/tun)', () => {
  let lan: Lan
  let directory: string
  let nodes: TestMachine[]
  /** Of the peers' map. */
  let seq: number
  /** False while the gateway is away. */
  let carries: boolean

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'claw-keys-'))
    nodes = []
    carries = true
    seq = 1
    lan = new Lan()
  })

  afterEach(async () => {
    await Promise.all(nodes.map(({ engine }) => engine.stop({ keepInterface: true })))
    lan.destroy()
    rmSync(directory, { recursive: true })
  })

  /** @param earlier takes over from one whose agent is gone, with the key that is in force by now. */
  async function machine(
    number: number,
    psk: 'off' | 'ml-kem-768' = 'off',
    earlier?: TestMachine & { next: KeyPair },
  ) {
    const host = earlier?.host ?? lan.addHost()
    const seed = earlier?.seed ?? newSeed(number)
    const { entry } = await selfOf(seed)
    const node = await testNode({
      seed,
      commands: host.commands,
      stateDirectory: directory,
      iface: earlier?.iface ?? uniqueInterface(),
      cache: earlier?.saved.cache,
      change: {
        psk,
        sendSignals: (signals) => {
          for (const { to, sealed } of signals)
            setTimeout(() => {
              if (carries)
                void nodes.find((other) => other.entry.id === to)?.engine.onSignal(entry.id, sealed)
            }, SIGNAL_MS)
        },
      },
    })
    if (earlier !== undefined) node.take(earlier.next)
    const made = { ...node, host, seed }
    nodes.push(made)
    await node.engine.start()
    return made
  }

  const reachable = () =>
    vi.waitFor(async () => {
      for (const { engine } of nodes) {
        const { peers } = await engine.status()
        expect(peers.filter(({ path }) => path !== 'none')).toHaveLength(nodes.length - 1)
      }
    }, soon)

  async function nextKey() {
    const privateKey = generateX25519()
    return { privateKey, publicKey: WireGuardKey.parse(await x25519PublicKey(privateKey)) }
  }

  const keysOf = async ({ host, iface }: { readonly host: Host; readonly iface: string }) =>
    (await host.exec('wg', 'show', iface, 'peers')).trim().split('\n').sort()

  const pskOf = async ({ host, iface }: TestMachine, peer: TestMachine) => {
    const lines = (await host.exec('wg', 'show', iface, 'preshared-keys')).split('\n')
    const line = lines.find((text) => text.startsWith(base64UrlToBase64(peer.entry.wg)))
    return line?.split('\t')[1]
  }

  /** Two that reach each other. */
  async function pair(psk?: 'ml-kem-768') {
    const [one, two] = [await machine(1, psk), await machine(2, psk)]
    connect([one, two])
    await reachable()
    return { one, two }
  }

  const tell = (two: TestMachine, entry: MeshPeer) =>
    two.engine.applyChanges({ epoch: 'test', from: seq, to: ++seq, put: [entry] })

  /** The other end hears of the key that is to come. */
  async function announce(one: TestMachine, two: TestMachine) {
    const next = await nextKey()
    tell(two, { ...one.entry, next: next.publicKey })
    return next
  }

  test('loses nothing in either direction, with a pre-shared key of the two as well, and leaves only the new key', async () => {
    const { one, two } = await pair('ml-kem-768')
    await vi.waitFor(async () => {
      expect(await pskOf(one, two)).toMatch(/=$/)
      expect(await pskOf(two, one)).toBe(await pskOf(one, two))
    }, soon)
    const shared = await pskOf(one, two)
    const pings = [startPing(one.host, two.entry.ip4), startPing(two.host, one.entry.ip4)]
    await Promise.all(pings.map((ping) => ping.replies(50)))
    const next = await announce(one, two)
    expect(await one.engine.handOver(next, () => one.take(next), true)).toBe('done')
    await Promise.all(pings.map((ping) => ping.replies(100)))
    tell(two, one.entry)
    await Promise.all(pings.map((ping) => ping.replies(50)))
    // Its handshake was made with the key that the two share: without it there would have been none.
    expect(await keysOf(two)).toEqual([base64UrlToBase64(next.publicKey)])
    const counted = await Promise.all(pings.map((ping) => ping.end()))
    process.stdout.write(
      `rotation: lost ${counted.map(({ lost, sent }) => `${lost} of ${sent}`).join(' and ')}\n`,
    )
    expect(counted.reduce((sum, { lost }) => sum + lost, 0)).toBeLessThanOrEqual(2)
    // It is of the two WireGuard keys, and another one by now.
    await vi.waitFor(async () => {
      expect(await pskOf(two, one)).not.toBe(shared)
      expect(await pskOf(two, one)).toBe(await pskOf(one, two))
    }, soon)
    // Neither is in an argument list.
    const args = JSON.stringify([...one.calls, ...two.calls].map((call) => call.args))
    expect(args).not.toContain((shared ?? '').slice(0, 20))
    expect(args).not.toContain(Buffer.from(next.privateKey.expose()).toString('base64').slice(0, 20))

    // One end loses its key, as if its interface had been made anew.
    await two.host.exec(
      'wg',
      'set',
      two.iface,
      'peer',
      base64UrlToBase64(one.entry.wg),
      'preshared-key',
      '/dev/null',
    )
    await vi.waitFor(async () => {
      expect(await pskOf(two, one)).toMatch(/=$/)
      expect(await pskOf(two, one)).toBe(await pskOf(one, two))
    }, soon)
  })

  test('that nobody could be told of is noticed by its handshake; and one that cannot be told of is not used', async () => {
    const { one, two } = await pair()
    // The gateway goes away in the moment of the change: neither word nor map comes through.
    const next = await announce(one, two)
    const isDone = one.engine.handOver(
      next,
      () => {
        carries = false
        one.take(next)
      },
      false,
    )
    expect(await isDone).toBe('done')
    two.engine.onDisconnected()
    await vi.waitFor(async () => {
      await two.host.exec('ping', '-c', '1', '-W', '1', one.entry.ip4)
      await one.host.exec('ping', '-c', '1', '-W', '1', two.entry.ip4)
      expect(await keysOf(two)).toEqual([base64UrlToBase64(next.publicKey)])
    }, soon)

    one.engine.onDisconnected()
    expect(await one.engine.handOver(await nextKey(), () => expect.fail('used'), false)).toBe('no gateway')
    expect((await one.host.exec('wg', 'show', one.iface, 'public-key')).trim()).toBe(
      base64UrlToBase64(next.publicKey),
    )
  })

  test('that a killed agent had only begun to use is given to the interface by the next one', async () => {
    const { one, two } = await pair()
    const next = await announce(one, two)
    await one.engine.stop({ keepInterface: true })
    one.take(next)
    // What the next agent does at its start, with the key that the disk has by now.
    const again = await machine(1, 'off', { ...one, next })
    await vi.waitFor(async () => {
      expect((await one.host.exec('wg', 'show', again.iface, 'public-key')).trim()).toBe(
        base64UrlToBase64(next.publicKey),
      )
      await one.host.exec('ping', '-c', '1', '-W', '1', two.entry.ip4)
      expect(await keysOf(two)).toEqual([base64UrlToBase64(next.publicKey)])
    }, soon)
  })
})
