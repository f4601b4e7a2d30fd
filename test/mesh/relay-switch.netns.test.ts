/** From the relay to a direct path and back on real WireGuard, without losing a packet however far apart the two ends switch. */
import { type ChildProcess, execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { GatewayKey, NodeId } from '../../protocol/ids.ts'
import { createTestCa } from '../support/certificates.ts'
import { canMakeNamespaces, type Host, Lan, uniqueInterface } from '../support/netns.ts'
import type { RelayProcessInput, RelayProcessRequest } from './relay-process.ts'

const CLAW = join(import.meta.dirname, '../../bin/claw.js')
const RELAY_PROCESS = join(import.meta.dirname, 'relay-process.ts')
const PORT = 51_820
const PINGS = 500
const soon = { timeout: 30_000, interval: 100 }

class Peer {
  readonly host: Host
  readonly address: string
  readonly iface = uniqueInterface()
  readonly privateKey = wg(['genkey'])
  readonly publicKey = wg(['pubkey'], this.privateKey)
  id = '' as NodeId
  #client: ChildProcess | undefined
  #answers: AsyncIterator<string> | undefined

  constructor(host: Host, number: number) {
    this.host = host
    this.address = `10.9.0.${number}`
  }

  get direct(): string {
    return `${this.host.address}:${PORT}`
  }

  async startInterface(): Promise<void> {
    this.host.spawn('wireguard-go', ['-f', this.iface], {
      stdio: 'ignore',
      env: { ...process.env, LOG_LEVEL: 'error' },
    })
    await vi.waitFor(() => this.host.exec('wg', 'show', this.iface), soon)
    await this.host.commands.run(
      'wg',
      ['set', this.iface, 'listen-port', String(PORT), 'private-key', '/dev/stdin'],
      Buffer.from(this.privateKey),
    )
    await this.host.exec('ip', 'address', 'add', `${this.address}/24`, 'dev', this.iface)
    await this.host.exec('ip', 'link', 'set', this.iface, 'up')
  }

  async startClient(input: Omit<RelayProcessInput, 'identitySeed' | 'iface' | 'listenPort'>): Promise<void> {
    const client = this.host.spawn(process.execPath, [RELAY_PROCESS], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#client = client
    this.#answers = createInterface(client.stdout as NodeJS.ReadableStream)[Symbol.asyncIterator]()
    const identitySeed = randomBytes(32).toString('hex')
    client.stdin?.write(
      `${JSON.stringify({ ...input, identitySeed, iface: this.iface, listenPort: PORT })}\n`,
    )
    this.id = NodeId.parse(JSON.parse(String((await this.#answers.next()).value)))
  }

  async ask(request: RelayProcessRequest): Promise<string> {
    this.#client?.stdin?.write(`${JSON.stringify(request)}\n`)
    return JSON.parse(String((await this.#answers?.next())?.value)) as string
  }

  /** Nothing else is set: allowed addresses that are set anew are none for a moment, in which packets are lost. */
  async setEndpoint(peer: Peer, endpoint: string): Promise<void> {
    await this.host.exec('wg', 'set', this.iface, 'peer', peer.publicKey, 'endpoint', endpoint)
  }

  async addPeer(peer: Peer): Promise<void> {
    const allowed = ['allowed-ips', `${peer.address}/32`, 'persistent-keepalive', '25']
    await this.host.exec('wg', 'set', this.iface, 'peer', peer.publicKey, ...allowed)
  }

  async endpointOf(peer: Peer): Promise<string | undefined> {
    const lines = await this.host.exec('wg', 'show', this.iface, 'endpoints')
    return lines
      .split('\n')
      .find((line) => line.startsWith(peer.publicKey))
      ?.split('\t')[1]
  }

  /** As an agent does it: first what still comes by the relay is disguised, then WireGuard is told. */
  async switchTo(peer: Peer, { naively }: { readonly naively: boolean }): Promise<void> {
    if (!naively) await this.ask({ disguise: peer.id, as: peer.direct as never })
    await this.setEndpoint(peer, peer.direct)
  }
}

describe.skipIf(!canMakeNamespaces)('from relay to direct (needs root and /dev/net/tun)', () => {
  let lan: Lan
  let directory: string
  let relayHost: Host
  let relay: ChildProcess
  let a: Peer
  let b: Peer
  let input: Omit<RelayProcessInput, 'identitySeed' | 'iface' | 'listenPort'>

  beforeAll(async () => {
    lan = new Lan()
    directory = mkdtempSync(join(tmpdir(), 'claw-relay-'))
    relayHost = lan.addHost()
    const authority = await createTestCa()
    const { key, cert } = await authority.issue({ names: [relayHost.address] })
    writeFileSync(join(directory, 'cert.pem'), cert)
    writeFileSync(join(directory, 'key.pem'), key)
    const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
    const gateway = { key: GatewayKey.parse(jwk.x), jwk }
    input = { relay: `wss://${relayHost.address}:8444`, ca: authority.pem, gateway }
    await startRelay()
    a = new Peer(lan.addHost(), 1)
    b = new Peer(lan.addHost(), 2)
    for (const peer of [a, b]) {
      await peer.startInterface()
      // The strictest that a distribution sets.
      for (const name of ['all', 'lo', 'default'])
        await peer.host.exec('sysctl', '-qw', `net.ipv4.conf.${name}.rp_filter=1`)
      await peer.startClient(input)
    }
    await a.addPeer(b)
    await b.addPeer(a)
  })

  afterAll(() => {
    lan?.destroy()
    if (directory) rmSync(directory, { recursive: true })
  })

  async function startRelay(): Promise<void> {
    const files = ['--cert', join(directory, 'cert.pem'), '--key', join(directory, 'key.pem')]
    relay = relayHost.spawn(
      process.execPath,
      [CLAW, 'relay', '--json', ...files, '--origin', input.relay, `--gateway-key=${input.gateway.key}`],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await once(createInterface(relay.stdout as NodeJS.ReadableStream), 'line')
  }

  /** Both ends by the relay, with a session that works. */
  async function relayed(): Promise<void> {
    const [toB, toA] = await Promise.all([a.ask({ reach: b.id }), b.ask({ reach: a.id })])
    await Promise.all([a.ask({ disguise: b.id, as: null }), b.ask({ disguise: a.id, as: null })])
    await Promise.all([a.setEndpoint(b, toB), b.setEndpoint(a, toA)])
    await vi.waitFor(async () => {
      await a.host.exec('ping', '-n', '-q', '-c', '1', '-W', '2', b.address)
      expect([await a.endpointOf(b), await b.endpointOf(a)]).toEqual([toB, toA])
    }, soon)
  }

  /** @returns how many of the pings were lost while the two switched and the relay was killed. */
  async function switching(skewMs: number, how: { readonly naively: boolean }): Promise<number> {
    await relayed()
    const ping = a.host
      .exec('ping', '-n', '-q', '-i', '0.01', '-c', String(PINGS), '-W', '3', b.address)
      .catch(
        // It fails when answers are missing, and says so as well.
        (error: { stdout: string }) => error.stdout,
      )
    await sleep(500)
    await a.switchTo(b, how)
    await sleep(skewMs)
    await b.switchTo(a, how)
    await sleep(1_000)
    relay.kill('SIGKILL')
    await once(relay, 'exit')
    const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(await ping) ?? []
    expect(Number(sent)).toBe(PINGS)
    await startRelay()
    return PINGS - Number(received)
  }

  test.each([0, 50, 300])(
    'no packet is lost when they switch %i ms apart and the relay is killed',
    async (skewMs) => {
      const lost = await switching(skewMs, { naively: false })
      process.stdout.write(`switch at a skew of ${skewMs} ms: ${lost} of ${PINGS} lost\n`)
      expect(lost).toBe(0)
      expect([await a.endpointOf(b), await b.endpointOf(a)]).toEqual([b.direct, a.direct])
    },
  )

  test('without the disguise WireGuard goes back to the relay', async () => {
    // How many packets that costs is chance: it depends on which of them overtake others.
    const lost = await switching(300, { naively: true })
    process.stdout.write(`naive switch at a skew of 300 ms: ${lost} of ${PINGS} lost\n`)
    await relayed()
    const [toB, toA] = [await a.endpointOf(b), await b.endpointOf(a)]
    await a.switchTo(b, { naively: true })
    await b.setEndpoint(a, toA ?? '')
    await b.host.exec('ping', '-n', '-q', '-c', '1', '-W', '5', a.address)
    expect(await a.endpointOf(b)).toBe(toB)
  })

  test('an IPv6 path is as good', async () => {
    await relayed()
    const address = (number: number) => `fd00:77::${number}`
    for (const [number, peer] of [a, b].entries()) {
      await peer.host.exec('ip', '-6', 'address', 'add', `${address(number + 1)}/64`, 'dev', 'eth0', 'nodad')
    }
    const [toA, toB] = [`[${address(1)}]:${PORT}`, `[${address(2)}]:${PORT}`]
    await a.ask({ disguise: b.id, as: toB as never })
    await a.setEndpoint(b, toB)
    // Node b stays with the relay: what a hears from there must not lead it back.
    const toLoopback = await b.endpointOf(a)
    for (let i = 0; i < 5; i++) {
      await b.setEndpoint(a, toLoopback ?? '')
      await b.host.exec('ping', '-n', '-q', '-c', '1', '-W', '5', a.address)
      expect(await a.endpointOf(b)).toBe(toB)
    }
    await b.setEndpoint(a, toA)
  })

  test('no other program of the machine gets at the sockets, and the rules go with the client', async () => {
    await relayed()
    const tables = await a.host.exec('nft', 'list', 'ruleset')
    const [, socket = ''] = /ip daddr 127\.0\.0\.1 udp dport (\d+) drop/.exec(tables) ?? []
    expect(Number(socket)).toBeGreaterThan(0)
    const send = `require('node:dgram').createSocket('udp4').send('x', ${socket}, '127.0.0.1', (e) => { process.stdout.write(String(e?.code)); process.exit() })`
    expect(await a.host.exec(process.execPath, '-e', send)).toBe('EPERM')
    await a.ask({ stop: true })
    expect(await a.host.exec('nft', 'list', 'ruleset')).toBe('')
  })

  test('without nftables each peer has a socket, and a switch mutes it', async () => {
    await a.startClient({ ...input, withoutNft: true })
    const toB = await Promise.all([a.ask({ reach: b.id }), b.ask({ reach: a.id })]).then(([to]) => to)
    expect(await a.host.exec('nft', 'list', 'ruleset')).toBe('')
    const toA = await b.ask({ reach: a.id })
    await a.setEndpoint(b, toB)
    await b.setEndpoint(a, toA)
    await vi.waitFor(async () => {
      await a.host.exec('ping', '-n', '-q', '-c', '1', '-W', '2', b.address)
      expect(await a.endpointOf(b)).toBe(toB)
    }, soon)
    await a.switchTo(b, { naively: false })
    await a.host.exec('ping', '-n', '-q', '-c', '3', '-i', '0.2', '-W', '5', b.address)
    expect(await a.endpointOf(b)).toBe(b.direct)
  })
})

function wg(args: readonly string[], input = ''): string {
  return execFileSync('wg', args, { input, encoding: 'utf8' }).trim()
}
