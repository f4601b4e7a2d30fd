/** Keys, outages and removals while traffic flows, as a fleet's owner does them: real programs, real WireGuard, each machine a network namespace. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { eventually } from '../../demo/eventually.ts'
import { Lab, type Machine } from '../../demo/lab.ts'
import { AuditList } from '../../protocol/audit.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { type Ping, startPing, startTransfer } from '../support/traffic.ts'

/** A minute in the wild, and with OUTAGE_SECONDS=60; what an agent does in it, it does in the first seconds. */
const OUTAGE_MS = Number(process.env['OUTAGE_SECONDS'] ?? 15) * 1000

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
        if (from !== machines[index])
          await eventually(
            20_000,
            () => from.ping(to, 1),
            ({ lost }) => lost === 0,
          )
  })
  afterAll(() => lab?.destroy())

  const online = (count: number, limit: number) =>
    eventually(
      limit,
      () => lab.nodes(),
      (nodes) => nodes.filter(({ status }) => status === 'online').length === count,
    )
  const at = (index: number) => ({
    machine: machines[index] ?? expect.fail(),
    ip: addresses[index] ?? expect.fail(),
  })

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
      await eventually(
        20_000,
        () => wireguardKey('bravo'),
        (key) => key !== bravo,
      )
    })
    expect(lost).toBeLessThanOrEqual(2)
    const verified = await lab.claw(['audit', 'verify', '--new-log'])
    expect(verified, verified.stdout.toString() + verified.stderr).toMatchObject({ code: 0 })
  })

  it('a node that is removed is cut off by each of its peers within two seconds, whatever it is doing', async () => {
    const [a, b, c] = [at(0), at(1), at(2)]
    const pings = [startPing(a.machine.host, c.ip), startPing(c.machine.host, b.ip)]
    const transfer = await startTransfer(c.machine.host, a.machine.host, a.ip)
    onTestFinished(() => transfer.kill())
    await Promise.all(pings.map((ping) => ping.replies(50)))
    await lab.clawOutput(['node', 'rm', 'charlie', '--yes'])
    for (const { machine } of [a, b])
      await eventually(
        10_000,
        () => machine.run('wg', 'show', machine.interface, 'peers'),
        (peers) => peers.trim().split('\n').length === 1,
      )
    await eventually(
      10_000,
      async () => last(pings),
      (at) => performance.now() - at > 1_000,
    )
    const listed = await lab.clawOutput(['audit', 'ls', '--action', 'node.remove', '-o', 'json'])
    const [removal] = AuditList.parse(JSON.parse(listed)).items
    // Recorded before it is done, so that it is counted from there.
    const lastMs = performance.timeOrigin + last(pings) - Date.parse(removal?.at ?? '')
    process.stdout.write(`removal: the last packet came ${Math.round(lastMs)} ms after it was recorded\n`)
    expect(lastMs).toBeLessThan(2_000)
    await Promise.all(pings.map((ping) => ping.end()))
    const still = await a.machine.ping(b.ip, 5)
    expect(still.lost).toBe(0)
  })

  it('the gateway is killed, and the agents start anew meanwhile: every byte arrives', async () => {
    const lost = await across(`gateway away for ${OUTAGE_MS / 1000} s`, async (pings) => {
      await lab.killGateway()
      const until = performance.now() + OUTAGE_MS
      for (const index of [0, 1]) {
        const { machine } = at(index)
        await machine.end('SIGKILL')
        machine.start()
        await eventually(
          20_000,
          () => machine.status(),
          ({ peers }) => peers.length === 1,
        )
      }
      while (performance.now() < until) await Promise.all(pings.map((ping) => ping.replies(100)))
    })
    expect(lost).toBeLessThanOrEqual(2)
  })
})

const last = (pings: readonly Ping[]): number => Math.max(...pings.map((ping) => ping.lastReplyAt()))
