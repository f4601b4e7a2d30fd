/** Keys, outages and removals while traffic flows, as a fleet's owner does them: real programs, real WireGuard, each machine a network namespace. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../../demo/eventually.ts'
import { Lab, type Machine } from '../../demo/lab.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { type Ping, startPing, startTransfer } from '../support/traffic.ts'

describe.skipIf(!canMakeNamespaces)('while traffic flows (needs root and /dev/net/tun)', () => {
  let lab: Lab
  let machines: Machine[]
  let addresses: string[]

  beforeAll(async () => {
    lab = new Lab()
    machines = ['alpha', 'bravo', 'charlie'].map((name) => lab.addMachine(name))
    await lab.startGateway()
    const created = await lab.clawOutput(['token', 'create', '--uses', '3', '-o', 'json'])
    const tokenFile = lab.file('join.token', (JSON.parse(created) as { token: string }).token)
    for (const machine of machines) {
      await machine.join(tokenFile)
      machine.start()
    }
    await online(3, 30_000)
    addresses = await Promise.all(machines.map(async (machine) => (await machine.status()).ipv4))
    for (const from of machines)
      for (const [index, to] of addresses.entries())
        if (from !== machines[index]) await eventually(20_000, () => from.ping(to, 1), ({ lost }) => lost === 0)
  })
  afterAll(() => lab?.destroy())

  const online = (count: number, limit: number) =>
    eventually(
      limit,
      () => lab.nodes(),
      (nodes) => nodes.filter(({ status }) => status === 'online').length === count,
    )
  const at = (index: number) => ({ machine: machines[index] ?? expect.fail(), ip: addresses[index] ?? expect.fail() })

  /** Pings in both directions and a transfer, around what is done. */
  async function across(what: string, action: (pings: readonly Ping[]) => Promise<void>) {
    const [a, b] = [at(0), at(1)]
    const pings = [startPing(a.machine.host, b.ip), startPing(b.machine.host, a.ip)]
    const transfer = await startTransfer(a.machine.host, b.machine.host, b.ip)
    await Promise.all(pings.map((ping) => ping.replies(100)))
    await action(pings)
    await Promise.all(pings.map((ping) => ping.replies(100)))
    const { sent, received } = await transfer.end()
    const counted = await Promise.all(pings.map((ping) => ping.end()))
    const lost = counted.map((count) => `${count.lost} of ${count.sent}`).join(' and ')
    process.stdout.write(`${what}: lost ${lost} pings; ${sent?.bytes} bytes over TCP\n`)
    expect(received).toEqual(sent)
    expect(sent?.bytes).toBeGreaterThan(1_000_000)
    return counted.reduce((sum, count) => sum + count.lost, 0)
  }

  const wireguardKey = async (name: string) =>
    (await lab.nodes()).find((node) => node.name === name)?.keys.wireguard ?? expect.fail()

  it('a WireGuard key changes, by command on the node and from the gateway, and nothing is lost', async () => {
    const lost = await across('key rotation', async (pings) => {
      const before = await wireguardKey('alpha')
      const { machine } = at(0)
      const { code, stderr } = await machine.clawnode(['rotate-wireguard', '--dir', machine.directory])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(await wireguardKey('alpha')).not.toBe(before)
      await Promise.all(pings.map((ping) => ping.replies(100)))
      const bravo = await wireguardKey('bravo')
      await lab.clawOutput(['node', 'rotate-wireguard', 'bravo'])
      await eventually(20_000, () => wireguardKey('bravo'), (key) => key !== bravo)
    })
    expect(lost).toBeLessThanOrEqual(2)
    expect((await lab.claw(['audit', 'verify'])).code).toBe(0)
  })
})
