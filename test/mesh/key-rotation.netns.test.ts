/** A WireGuard key changes while traffic flows: on real WireGuard, with a gateway's part that takes its time. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { WireGuardKey } from '../../protocol/ids.ts'
import { canMakeNamespaces, type Host, Lan, uniqueInterface } from '../support/netns.ts'
import { connect, newSeed, type TestNode, testNode } from './mesh-node.ts'

const soon = { timeout: 20_000, interval: 50 }
/** What a signal takes by way of a gateway. */
const SIGNAL_MS = 40

describe.skipIf(!canMakeNamespaces)('a WireGuard key that changes (needs root and /dev/net/tun)', () => {
  let lan: Lan
  let directory: string
  let nodes: (TestNode & { readonly host: Host })[]
  /** False while the gateway is away. */
  let carries: boolean

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'claw-keys-'))
    nodes = []
    carries = true
    lan = new Lan()
  })

  afterEach(async () => {
    await Promise.all(nodes.map(({ engine }) => engine.stop({ keepInterface: true })))
    lan.destroy()
    rmSync(directory, { recursive: true })
  })

  async function machine(number: number) {
    const host = lan.addHost()
    const seed = newSeed(number)
    const { entry } = await testNode({ seed, commands: host.commands, stateDirectory: directory, iface: 'x' })
    const node = await testNode({
      seed,
      commands: host.commands,
      stateDirectory: directory,
      iface: uniqueInterface(),
      change: {
        sendSignals: (signals) => {
          for (const { to, sealed } of signals)
            setTimeout(() => {
              if (carries) void nodes.find((other) => other.entry.id === to)?.engine.onSignal(entry.id, sealed)
            }, SIGNAL_MS)
        },
      },
    })
    const made = { ...node, host }
    nodes.push(made)
    await node.engine.start()
    return made
  }

  const reachable = () =>
    vi.waitFor(async () => {
      for (const { engine } of nodes) {
        const { peers } = await engine.status()
        expect(peers.filter(({ path }) => path === 'direct')).toHaveLength(nodes.length - 1)
      }
    }, soon)

  async function nextKey() {
    const privateKey = generateX25519()
    return { privateKey, publicKey: WireGuardKey.parse(await x25519PublicKey(privateKey)) }
  }

  const keysOf = async ({ host, iface }: { readonly host: Host; readonly iface: string }) =>
    (await host.exec('wg', 'show', iface, 'peers')).trim().split('\n').sort()

  test('loses nothing in either direction, and leaves only the new key', async () => {
    const [one, two] = [await machine(1), await machine(2)]
    connect([one, two])
    await reachable()
    for (let round = 0; round < 3; round++) {
      const next = await nextKey()
      const pings = [startPing(one.host, two.entry.ip4), startPing(two.host, one.entry.ip4)]
      await Promise.all(pings.map((ping) => ping.replies(100)))
      const before = one.entry
      two.engine.applyChanges({ epoch: 'test', from: 1 + 2 * round, to: 2 + 2 * round, put: [{ ...before, next: next.publicKey }] })
      expect(await one.engine.handOver(next, () => one.take(next))).toBe(true)
      await Promise.all(pings.map((ping) => ping.replies(100)))
      two.engine.applyChanges({ epoch: 'test', from: 2 + 2 * round, to: 3 + 2 * round, put: [one.entry] })
      await Promise.all(pings.map((ping) => ping.replies(100)))
      await vi.waitFor(async () => expect(await keysOf(two)).toEqual([base64UrlToBase64(next.publicKey)]), soon)
      const [there, back] = await Promise.all(pings.map((ping) => ping.end()))
      process.stdout.write(`rotation ${round + 1}: lost ${there?.lost} of ${there?.sent} and ${back?.lost} of ${back?.sent}\n`)
    }
  })
})

/** A hundred a second until it is ended. */
function startPing(from: Host, address: string) {
  const process = from.spawn('ping', ['-n', '-i', '0.01', '-W', '1', address], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  process.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const answered = () => new Set([...output.matchAll(/icmp_seq=(\d+) /g)].map(([, sequence]) => Number(sequence)))
  return {
    replies: (more: number) => {
      const wanted = answered().size + more
      return vi.waitFor(() => expect(answered().size).toBeGreaterThanOrEqual(wanted), soon)
    },
    end: async () => {
      process.kill('SIGINT')
      await once(process, 'close')
      // By number, because the last one sent may still be on its way.
      const sent = Math.max(...answered())
      return { sent, lost: sent - answered().size }
    },
  }
}
