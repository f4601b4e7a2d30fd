/**
 * What a relayed tunnel carries, beside a direct one and plain wireguard-go, on one machine: two nodes in network namespaces, real agents, and the
 * relay of an embedded gateway, then a `claw relay`. Load, both ends' WireGuard and the relay share the machine's cores, and there is no distance.
 */
import { type ChildProcess, execFileSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { issueServerCertificate } from '../cli/up/certificates.ts'
import { Lab, type Machine } from '../demo/lab.ts'
import { type Host, processesIn, uniqueInterface } from '../test/support/netns.ts'
import type { Figure } from './report.ts'

const CLAW = fileURLToPath(new URL('../bin/claw.js', import.meta.url))
const SECONDS = 5
const PINGS = 100
const RELAY_PORT = 8444
const PLAIN_PORT = 51_900
const LIMIT_MS = 120_000
/** Of Linux, in /proc. */
const TICKS_PER_SECOND = 100
const NO_UDP =
  'table inet no_udp { chain output { type filter hook output priority 0; oifname "eth0" meta l4proto udp drop; }; }'
const BUDGET = { atLeast: 150 }

export async function benchRelay(log: (line: string) => void): Promise<Figure[]> {
  const lab = new Lab()
  try {
    await lab.startGateway()
    const token = lab.file('token', await lab.clawOutput(['token', 'create', '--uses', '4']))
    const [one, two] = [lab.addMachine('direct-1'), lab.addMachine('direct-2')]
    const [three, four] = [lab.addMachine('relayed-1'), lab.addMachine('relayed-2')]
    for (const machine of [three, four]) await machine.run('nft', NO_UDP)
    for (const machine of [one, two, three, four]) {
      await machine.join(token)
      machine.start()
    }
    const figures: Figure[] = []
    const measure = async (what: string, from: Host, to: Host, address: string, relay?: RelayProgram) => {
      log(what)
      const before = relay && cpuSeconds(relay.host, relay.program)
      const mbits = await throughput(from, to, address)
      const gigabytes = (mbits * SECONDS) / 8_000
      figures.push({ what: `${what}: TCP`, value: mbits, unit: 'Mbit/s', ...(relay && { budget: BUDGET }) })
      if (relay !== undefined && before !== undefined) {
        const spent = cpuSeconds(relay.host, relay.program) - before
        // What others do on this machine slows the transfer, and leaves this as it is.
        const budget = { atMost: 8_000 / BUDGET.atLeast }
        figures.push({ what: `${what}: its processor time`, value: spent / gigabytes, unit: 's/GB', budget })
      }
      figures.push({ what: `${what}: ping p50`, value: await latency(from, address), unit: 'ms' })
    }
    const plain = await plainTunnel(lab.addHost(), lab.addHost())
    await measure('plain wireguard-go', plain.from, plain.to, plain.address)
    await measure('direct', one.host, two.host, await reached(one, two, 'lan'))
    const address = await reached(three, four, 'relay')
    await measure("by the gateway's relay", three.host, four.host, address, {
      host: lab.gatewayHost,
      program: 'workerd',
    })

    log('starting a claw relay, and the gateway anew with it')
    const relay = await startRelay(lab)
    try {
      await lab.stopGateway()
      await lab.startGateway(['--relays', `wss://${relay.host.address}:${RELAY_PORT}`])
      await reached(three, four, 'relay')
      await measure('by claw relay', three.host, four.host, address, { host: relay.host, program: 'node' })
    } finally {
      relay.process.kill('SIGTERM')
      await once(relay.process, 'exit')
    }
    return figures
  } finally {
    await lab.destroy()
  }
}

interface RelayProgram {
  readonly host: Host
  readonly program: string
}

/** Processor time of the programs of that name there, so far. */
function cpuSeconds({ namespace }: Host, program: string): number {
  const ticks = processesIn(namespace).map((pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return stat.includes(`(${program}`) || stat.includes('(MainThread')
      ? Number(fields[11]) + Number(fields[12])
      : 0
  })
  return ticks.reduce((sum, own) => sum + own, 0) / TICKS_PER_SECOND
}

/** Resolves with the other's mesh address when it answers by that path. */
async function reached(from: Machine, to: Machine, path: string): Promise<string> {
  const deadline = performance.now() + LIMIT_MS
  for (;;) {
    const peer = (await from.status().catch(() => undefined))?.peers.find(({ name }) => name === to.name)
    const address = peer && (await to.status()).ipv4
    if (address !== undefined && peer?.path === path && (await from.ping(address, 3)).lost === 0)
      return address
    if (performance.now() > deadline) throw new Error(`${to.name} is not reached by ${path}`)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

async function startRelay(lab: Lab): Promise<{ readonly host: Host; readonly process: ChildProcess }> {
  const host = lab.addHost()
  // By the CA of the gateway, which is the one that the nodes know.
  const gateway = (name: string): string => readFileSync(join(lab.directory, 'gateway', name), 'utf8')
  const leafKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const issuer = { certificate: gateway('ca.pem'), key: createPrivateKey(gateway('ca.key')) }
  const cert = await issueServerCertificate(issuer, leafKey, [host.address], new Date())
  const key = leafKey.export({ type: 'pkcs8', format: 'pem' })
  const files = { cert: join(lab.directory, 'relay.pem'), key: join(lab.directory, 'relay.key') }
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key, { mode: 0o600 })
  const gatewayKey = await lab.clawOutput(['gateway-key', 'show', '--dir', join(lab.directory, 'gateway')])
  const args = ['relay', '--json', '--cert', files.cert, '--key', files.key]
  const origin = `wss://${host.address}:${RELAY_PORT}`
  const child = host.spawn(
    process.execPath,
    [CLAW, ...args, '--origin', origin, `--gateway-key=${gatewayKey.trim()}`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(createInterface(child.stdout as NodeJS.ReadableStream), 'line')
  return { host, process: child }
}

async function plainTunnel(from: Host, to: Host) {
  const ends = [from, to].map((host, index) => ({
    host,
    iface: uniqueInterface(),
    address: `10.200.0.${index + 1}`,
    privateKey: wg(['genkey']),
  }))
  for (const { host, iface, address, privateKey } of ends) {
    host.spawn('wireguard-go', ['-f', iface], {
      stdio: 'ignore',
      env: { ...process.env, LOG_LEVEL: 'error' },
    })
    const deadline = performance.now() + LIMIT_MS
    while (!(await host.exec('wg', 'show', iface).catch(() => undefined))) {
      if (performance.now() > deadline) throw new Error('wireguard-go does not start')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const settings = ['listen-port', String(PLAIN_PORT), 'private-key', '/dev/stdin']
    await host.commands.run('wg', ['set', iface, ...settings], Buffer.from(privateKey))
    await host.exec('ip', 'address', 'add', `${address}/24`, 'dev', iface)
    await host.exec('ip', 'link', 'set', iface, 'mtu', '1420', 'up')
  }
  for (const [index, { host, iface }] of ends.entries()) {
    const other = ends[1 - index]
    if (other === undefined) continue
    const endpoint = ['endpoint', `${other.host.address}:${PLAIN_PORT}`, 'allowed-ips', `${other.address}/32`]
    await host.exec('wg', 'set', iface, 'peer', wg(['pubkey'], other.privateKey), ...endpoint)
  }
  return { from, to, address: '10.200.0.2' }
}

const wg = (args: readonly string[], input = ''): string =>
  execFileSync('wg', args, { input, encoding: 'utf8' }).trim()

async function throughput(from: Host, to: Host, address: string): Promise<number> {
  const server = to.spawn('iperf3', ['-s', '-1', '-B', address], { stdio: 'ignore' })
  const missing = once(server, 'exit').then(([code]) => code === 127 || code === 255)
  const started = await Promise.race([missing.then(() => false), listening(to, 5201)])
  if (!started) return ownThroughput(from, to, address)
  const report = JSON.parse(await from.exec('iperf3', '-c', address, '-t', String(SECONDS), '-J')) as {
    end: { sum_received: { bits_per_second: number } }
  }
  await missing
  return report.end.sum_received.bits_per_second / 1e6
}

/** Where there is no iperf3. */
async function ownThroughput(from: Host, to: Host, address: string): Promise<number> {
  const server = to.spawn(process.execPath, ['-e', OWN_SERVER, address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const result = once(createInterface(server.stdout as NodeJS.ReadableStream), 'line')
  await listening(to, 5201)
  await from.exec(process.execPath, '-e', OWN_CLIENT, address, String(SECONDS * 1000))
  const [line] = await result
  return Number(line) / 1e6
}

async function listening(host: Host, port: number): Promise<true> {
  while (!(await host.exec('ss', '-Hltn', `sport = :${port}`)).includes(`:${port}`))
    await new Promise((resolve) => setTimeout(resolve, 50))
  return true
}

async function latency(from: Host, address: string): Promise<number> {
  const output = await from.exec('ping', '-n', '-i', '0.02', '-c', String(PINGS), address)
  const times = [...output.matchAll(/time=([0-9.]+) ms/g)]
    .map(([, time]) => Number(time))
    .sort((a, b) => a - b)
  return times[Math.floor(times.length / 2)] ?? Number.NaN
}

const OWN_SERVER = `
const server = require('node:net').createServer((socket) => {
  let bytes = 0, begun
  socket.on('data', (chunk) => { begun ??= performance.now(); bytes += chunk.length })
  socket.on('close', () => { console.log(bytes * 8000 / (performance.now() - begun)); server.close() })
}).listen(5201, process.argv[1])`
const OWN_CLIENT = `
const socket = require('node:net').connect(5201, process.argv[1])
const chunk = Buffer.alloc(65536)
const end = Date.now() + Number(process.argv[2])
const write = () => { while (Date.now() < end) if (!socket.write(chunk)) return socket.once('drain', write); socket.end() }
socket.on('connect', write)`
