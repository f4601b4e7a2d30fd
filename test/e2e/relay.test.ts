/**
 * Nodes that cannot reach each other directly, over the relay of an embedded gateway: two behind symmetric NATs, one whose network lets no UDP
 * through. Real programs, real WireGuard, each machine a network namespace.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Lab, type Machine } from '../../demo/lab.ts'
import { canMakeNamespaces } from '../support/netns.ts'

const soon = { timeout: 60_000, interval: 300 }
const NO_UDP =
  'table inet no_udp { chain output { type filter hook output priority 0; oifname "eth0" meta l4proto udp drop; }; }'

describe.skipIf(!canMakeNamespaces)('the relay (needs root and /dev/net/tun)', () => {
  const lab = canMakeNamespaces ? new Lab() : (undefined as unknown as Lab)
  const machines: Machine[] = []
  const addresses = new Map<string, string>()
  afterAll(() => lab?.destroy())

  beforeAll(async () => {
    await lab.startGateway()
    machines.push(
      lab.addMachine('sym-1', { nat: true }),
      lab.addMachine('sym-2', { nat: true }),
      lab.addMachine('no-udp'),
    )
    const token = lab.file('token', await lab.clawOutput(['token', 'create', '--uses', '3']))
    await machines[2]?.run('nft', NO_UDP)
    for (const machine of machines) {
      await machine.join(token)
      machine.start([], { ...process.env, CLAWNODE_LOG: 'debug' })
    }
  })

  const machine = (name: string): Machine => machines.find((one) => one.name === name) as Machine
  const to = (name: string): string => addresses.get(name) ?? ''

  test('every pair is connected, and says by which path', async () => {
    await vi.waitFor(async () => {
      for (const one of machines) {
        const { ipv4, peers } = await one.status()
        addresses.set(one.name, ipv4)
        expect(peers.map(({ path }) => path)).toEqual(['relay', 'relay'])
      }
    }, soon)
    expect(await machine('sym-1').ping(to('sym-2'), 10)).toEqual({ sent: 10, lost: 0 })
    expect(await machine('sym-2').ping(to('no-udp'), 10)).toEqual({ sent: 10, lost: 0 })
    const { stdout } = await lab.claw(['up', '--help'])
    expect(stdout.toString()).toContain('--relays')
  })

  test('a TCP transfer arrives whole, though the gateway is killed in the middle of it', async () => {
    const data = randomBytes(12 * 1024 * 1024)
    const file = `${lab.directory}/data`
    writeFileSync(file, data)
    const [from, into] = [machine('no-udp'), machine('sym-1')]
    const receiver = into.host.spawn(process.execPath, ['-e', RECEIVE, to('sym-1')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const received = text(receiver.stdout as NodeJS.ReadableStream)
    await vi.waitFor(() => into.run('sh', '-c', 'ss -Hltn sport = :7777 | grep -q .'), soon)
    const sender = from.host.spawn(process.execPath, ['-e', SEND, to('sym-1'), file], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    await vi.waitFor(async () => {
      const { rxBytes } = (await into.status()).peers.find(({ name }) => name === 'no-udp') as unknown as {
        rxBytes: number
      }
      expect(rxBytes).toBeGreaterThan(1024 * 1024)
    }, soon)
    await lab.killGateway()
    expect(receiver.exitCode).toBeNull()
    await lab.startGateway()
    await once(sender, 'exit')
    expect(await received).toBe(createHash('sha256').update(data).digest('hex'))
  })

  test('a removed node is cut off while it sends', async () => {
    const [sender, target] = [machine('sym-2'), machine('sym-1')]
    await vi.waitFor(async () => expect((await sender.ping(to('sym-1'), 3)).lost).toBe(0), soon)
    expect((await lab.claw(['node', 'rm', 'sym-2', '--yes'])).code).toBe(0)
    const begun = performance.now()
    await vi.waitFor(async () => {
      expect((await sender.ping(to('sym-1'), 1)).lost).toBe(1)
    }, soon)
    expect(performance.now() - begun).toBeLessThan(5_000)
    await vi.waitFor(async () => {
      expect((await target.status()).peers.map(({ name }) => name)).toEqual(['no-udp'])
    }, soon)
  })

  test('an agent that ends takes its rules with it', async () => {
    const one = machine('no-udp')
    expect(await one.run('nft', 'list', 'tables')).toContain(`clawnode_relay_${one.interface}`)
    await one.end('SIGTERM')
    expect(await one.run('nft', 'list', 'tables')).not.toContain('clawnode')
  })
})

const RECEIVE = `
const hash = require('node:crypto').createHash('sha256')
const server = require('node:net').createServer((socket) => {
  socket.on('data', (chunk) => hash.update(chunk))
  socket.on('end', () => { process.stdout.write(hash.digest('hex')); server.close() })
}).listen(7777, process.argv[1])`
const SEND = `
const socket = require('node:net').connect(7777, process.argv[1])
require('node:fs').createReadStream(process.argv[2]).pipe(socket)`
