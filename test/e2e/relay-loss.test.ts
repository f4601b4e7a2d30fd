/**
 * A relay that is lost, before and after a pair has found a direct path: `claw relay` as a program of its own, which can be killed while the gateway
 * stays. Real programs, real WireGuard, each machine a network namespace.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../../demo/eventually.ts'
import { Lab, type Machine } from '../../demo/lab.ts'
import { LabRelay } from '../support/lab-relay.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { type Ping, startPing, startTransfer } from '../support/traffic.ts'

const LIMIT_MS = 60_000
/** Nothing of WireGuard or of the search for paths passes, in either direction. */
const NO_UDP = `table inet no_udp {
  chain in { type filter hook input priority 0; iifname "eth0" meta l4proto udp drop; }
  chain out { type filter hook output priority 0; oifname "eth0" meta l4proto udp drop; }
}`

describe.skipIf(!canMakeNamespaces)('a relay that is lost (needs root and /dev/net/tun)', () => {
  let lab: Lab
  let relay: LabRelay
  let free: Machine
  let walled: Machine

  beforeAll(async () => {
    lab = new Lab()
    relay = new LabRelay(lab)
    await lab.startGateway(['--relays', relay.origin])
    await relay.prepare()
    await relay.start()
    free = await enter('free')
    walled = await enter('walled', NO_UDP)
  })
  afterAll(() => lab?.destroy())

  async function enter(name: string, rules = ''): Promise<Machine> {
    const machine = lab.addMachine(name)
    if (rules !== '') await machine.run('nft', rules)
    await machine.join(lab.file(`${name}.token`, await lab.clawOutput(['token', 'create'])))
    machine.start()
    return machine
  }

  const pathTo = async (from: Machine, to: Machine) =>
    (await from.status()).peers.find(({ name }) => name === to.name)?.path
  const paths = (a: Machine, b: Machine) => Promise.all([pathTo(a, b), pathTo(b, a)])
  const becomes = (a: Machine, b: Machine, path: string) =>
    eventually(
      LIMIT_MS,
      () => paths(a, b),
      (seen) => seen.every((one) => one === path),
    )
  const all = (pings: readonly Ping[], more: number) => Promise.all(pings.map((ping) => ping.replies(more)))

  /** A hundred pings a second in each direction. */
  async function pinging(a: Machine, b: Machine): Promise<readonly Ping[]> {
    const [one, two] = [await a.status(), await b.status()]
    const pings = [startPing(a.host, two.ipv4), startPing(b.host, one.ipv4)]
    await all(pings, 100)
    return pings
  }

  async function lost(what: string, pings: readonly Ping[]): Promise<number> {
    const counted = await Promise.all(pings.map((ping) => ping.end()))
    const text = counted.map((count) => `${count.lost} of ${count.sent}`).join(' and ')
    process.stdout.write(`${what}: lost ${text} pings\n`)
    return counted.reduce((sum, count) => sum + count.lost, 0)
  }

  test('every byte arrives, though the relay in use is killed and started anew', async () => {
    await becomes(walled, free, 'relay')
    const transfer = await startTransfer(walled.host, free.host, (await free.status()).ipv4)
    const pings = await pinging(walled, free)
    await relay.end('SIGKILL')
    const endedAt = performance.now()
    await eventually(
      LIMIT_MS,
      async () => Math.max(...pings.map((ping) => ping.lastReplyAt())),
      (last) => performance.now() - last > 1_000,
    )
    const quietFrom = Math.max(...pings.map((ping) => ping.lastReplyAt()))
    expect(quietFrom - endedAt).toBeLessThan(1_000)
    await relay.start()
    const startedAt = performance.now()
    await all(pings, 100)
    const seconds = (performance.now() - startedAt) / 1000
    process.stdout.write(`${seconds.toFixed(1)} s after its start a hundred more are answered\n`)
    await lost('relay killed while in use', pings)
    const { sent, received } = await transfer.end()
    process.stdout.write(`${sent?.bytes} bytes over TCP\n`)
    expect(received).toEqual(sent)
    expect(sent?.bytes).toBeGreaterThan(1_000_000)
  })

  test('a pair on the relay loses nothing at the switch to a direct path, nor when the relay is killed after it', async () => {
    const opened = await enter('opened', NO_UDP)
    await becomes(opened, free, 'relay')
    const transfer = await startTransfer(opened.host, free.host, (await free.status()).ipv4)
    const before = await pinging(opened, free)
    await opened.run('nft', 'delete', 'table', 'inet', 'no_udp')
    const { ms } = await becomes(opened, free, 'lan')
    process.stdout.write(`direct ${(ms / 1000).toFixed(1)} s after the wall fell\n`)
    await all(before, 200)
    const atSwitch = await lost('switch to a direct path', before)

    const after = await pinging(opened, free)
    await relay.end('SIGKILL')
    await all(after, 600)
    const withoutRelay = await lost('relay killed after the switch', after)
    const { sent, received } = await transfer.end()
    expect(received).toEqual(sent)
    expect(await paths(opened, free)).toEqual(['lan', 'lan'])
    expect({ atSwitch, withoutRelay }).toEqual({ atSwitch: 0, withoutRelay: 0 })
  })
})
