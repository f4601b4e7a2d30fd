/** WireGuard on this machine, in network namespaces: what many peers cost, and whether the mesh is as fast as plain wireguard-go. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SystemBackend } from '../agent/mesh/backend.ts'
import { parsePing } from '../agent/mesh/mesh-ping.ts'
import { type DesiredPeer, reconcile } from '../agent/mesh/reconcile.ts'
import { WireGuardDevice } from '../agent/mesh/wg.ts'
import { base64UrlToBase64, randomBytes, toBase64Url } from '../crypto/bytes.ts'
import { SecretBytes } from '../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../crypto/x25519.ts'
import { WireGuardKey } from '../protocol/ids.ts'
import { carrySignals, connect, newSeed, testNode } from '../test/mesh/mesh-node.ts'
import { canMakeNamespaces, type Host, Lan, uniqueInterface } from '../test/support/netns.ts'
import type { Figure } from './report.ts'

const PEERS = [100, 1_000, 10_000]
const MEGABYTES = 200
const PINGS = 100
const PORT = 5_201
const LISTEN_PORT = 51_820

export async function benchWireguard(log: (line: string) => void): Promise<Figure[]> {
  if (!canMakeNamespaces) {
    log('without root and /dev/net/tun nothing is said of WireGuard itself')
    return []
  }
  const lan = new Lan()
  const directory = mkdtempSync(join(tmpdir(), 'claw-bench-wg-'))
  try {
    const figures: Figure[] = []
    for (const count of PEERS) {
      log(`${count} peers on one interface`)
      figures.push(...(await manyPeers(lan.addHost(), directory, count)))
    }
    log('plain wireguard-go')
    const plain = await plainPair(lan)
    log('the mesh')
    const mesh = await meshPair(lan, directory)
    return [
      ...figures,
      { what: 'plain wireguard-go, TCP', value: plain.megabits, unit: 'Mbit/s' },
      { what: 'the mesh, direct, TCP', value: mesh.megabits, unit: 'Mbit/s' },
      { what: 'the mesh to plain', value: mesh.megabits / plain.megabits, unit: '' },
      { what: 'plain wireguard-go, round trip', value: plain.rttMs, unit: 'ms' },
      { what: 'the mesh, direct, round trip', value: mesh.rttMs, unit: 'ms' },
    ]
  } finally {
    lan.destroy()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** As the agent does it: read, compare, and only what differs is set. */
async function manyPeers(host: Host, stateDirectory: string, count: number): Promise<Figure[]> {
  const { commands } = host
  const iface = uniqueInterface()
  const privateKey = generateX25519()
  const publicKey = WireGuardKey.parse(await x25519PublicKey(privateKey))
  const backend = new SystemBackend({ commands, iface, publicKey, stateDirectory, userspace: true })
  await backend.ensure()
  const device = new WireGuardDevice(commands, iface)
  await device.configure(privateKey, LISTEN_PORT)
  const peer = (n: number, keepalive = 0): DesiredPeer => ({
    publicKey: keys[n] ?? newKey(),
    allowedIps: [`10.${100 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}/32`, `fd00::${n.toString(16)}/128`],
    endpoint: undefined,
    keepalive,
  })
  const keys = Array.from({ length: count + 1 }, newKey)
  const all = Array.from({ length: count }, (_, n) => peer(n))
  const follow = async (desired: readonly DesiredPeer[]): Promise<number> => {
    const begun = performance.now()
    const steps = reconcile(desired, (await device.read()).peers)
    if (steps.put.length + steps.del.length > 0) await device.apply(steps)
    return performance.now() - begun
  }
  const of = `of ${count} peers`
  const first = await follow(all)
  const nothing = await follow(all)
  const more = await follow([...all, peer(count)])
  const fewer = await follow(all)
  const awake = await follow(all.map((desired) => ({ ...desired, keepalive: 25 })))
  await backend.remove()
  return [
    { what: `all peers set, ${of}`, value: first, unit: 'ms' },
    { what: `a look at which nothing differs, ${of}`, value: nothing, unit: 'ms' },
    { what: `one more, ${of}`, value: more, unit: 'ms' },
    { what: `one fewer, ${of}`, value: fewer, unit: 'ms' },
    { what: `keepalive of all changed, ${of}`, value: awake, unit: 'ms' },
  ]
}

const newKey = (): WireGuardKey => WireGuardKey.parse(toBase64Url(randomBytes(32)))

interface Pair {
  readonly megabits: number
  readonly rttMs: number
}

async function plainPair(lan: Lan): Promise<Pair> {
  const ends = await Promise.all(
    [1, 2].map(async (number) => {
      const [host, iface, key] = [lan.addHost(), uniqueInterface(), generateX25519()]
      const publicKey = WireGuardKey.parse(await x25519PublicKey(key))
      await host.commands.launch('wireguard-go', ['-f', iface])
      return { host, iface, key, publicKey, address: `10.77.0.${number}` }
    }),
  )
  const [a, b] = ends
  if (a === undefined || b === undefined) throw new Error('a pair has two ends')
  for (const [end, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const device = new WireGuardDevice(end.host.commands, end.iface)
    await eventually(() => device.configure(SecretBytes.take(new Uint8Array(end.key.expose())), LISTEN_PORT))
    const endpoint = `${other.host.address}:${LISTEN_PORT}`
    const peer = ['peer', base64UrlToBase64(other.publicKey), 'allowed-ips', `${other.address}/32`]
    await end.host.exec('wg', 'set', end.iface, ...peer, 'endpoint', endpoint)
    await end.host.exec('ip', 'address', 'add', `${end.address}/24`, 'dev', end.iface)
    await end.host.exec('ip', 'link', 'set', 'dev', end.iface, 'mtu', '1420', 'up')
  }
  return measure(a.host, b.host, b.address)
}

async function meshPair(lan: Lan, stateDirectory: string): Promise<Pair> {
  const hosts = [lan.addHost(), lan.addHost()] as const
  const make = (host: Host, number: number) =>
    testNode({ seed: newSeed(number), commands: host.commands, stateDirectory, iface: uniqueInterface() })
  const nodes = [await make(hosts[0], 1), await make(hosts[1], 2)] as const
  try {
    for (const { engine } of nodes) await engine.start()
    connect(nodes)
    await eventually(async () => {
      await carrySignals(nodes)
      if ((await nodes[0].engine.status()).peers[0]?.path === 'none') throw new Error('no path yet')
    })
    return await measure(hosts[0], hosts[1], nodes[1].entry.ip4)
  } finally {
    for (const { engine } of nodes) await engine.stop({ keepInterface: false })
  }
}

/** Reads all there is, and says how long it took from the first byte on. */
const RECEIVER = `
const { createServer } = require('node:net')
createServer((socket) => {
  const begun = process.hrtime.bigint()
  let bytes = 0
  socket.on('data', (chunk) => { bytes += chunk.length })
  socket.on('end', () => {
    console.log(bytes * 8000 / Number(process.hrtime.bigint() - begun))
    process.exit()
  })
}).listen(Number(process.argv[1]), process.argv[2])`

const SENDER = `
const chunk = Buffer.alloc(1 << 20)
let left = Number(process.argv[3])
const socket = require('node:net').connect(Number(process.argv[1]), process.argv[2])
const send = () => { while (left-- > 0) if (!socket.write(chunk)) return socket.once('drain', send); socket.end() }
socket.on('connect', send)`

async function measure(from: Host, to: Host, address: string): Promise<Pair> {
  await eventually(() => from.exec('ping', '-c', '1', '-W', '1', address))
  const pinged = await from.exec('ping', '-q', '-c', String(PINGS), '-i', '0.01', address)
  const received = to.exec(process.execPath, '-e', RECEIVER, String(PORT), address)
  await eventually(() => from.exec(process.execPath, '-e', SENDER, String(PORT), address, String(MEGABYTES)))
  return { megabits: Number(await received), rttMs: parsePing(pinged)?.rttMs?.avg ?? Number.NaN }
}

async function eventually<T>(action: () => Promise<T>): Promise<T> {
  for (let tries = 100; ; tries--) {
    try {
      return await action()
    } catch (error) {
      if (tries === 0) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}
