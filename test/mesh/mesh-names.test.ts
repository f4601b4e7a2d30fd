/** How the names come to the machine's own programs: on loopback addresses, with a file of hosts and a systemd-resolved of the test's. */
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { removeLeftNames } from '../../agent/dns/left-names.ts'
import { MeshNames, type MeshNamesOptions } from '../../agent/dns/mesh-names.ts'
import { isResolvedInUse } from '../../agent/dns/resolved.ts'
import { createLog } from '../../agent/log.ts'
import { CommandError, type Commands } from '../../agent/mesh/exec.ts'
import { Ipv4, NodeName, SealingKey, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { FLEET, nodeId } from './mesh-node.ts'

const FOREIGN = '127.0.0.1\tlocalhost\n'

const peer = (number: number, name = `node-${number}`): MeshPeer => ({
  id: nodeId(number),
  name: NodeName.parse(name),
  wg: WireGuardKey.parse('A'.repeat(43)),
  seal: SealingKey.parse('A'.repeat(43)),
  ip4: Ipv4.parse(`127.53.0.${number}`),
})

class FakeResolved implements Commands {
  readonly calls: string[] = []
  /** Every command that begins so fails. */
  broken: string | undefined

  async run(program: string, args: readonly string[]): Promise<Uint8Array> {
    const call = [program, ...args].join(' ')
    this.calls.push(call)
    if (this.broken !== undefined && call.startsWith(this.broken))
      throw new CommandError(program, 'failed', { status: 'status 1', stderr: 'broken' })
    return new Uint8Array()
  }

  launch(): never {
    throw new Error('nothing is started here')
  }
}

/** A machine with its files; several agents may run on it. */
function machine() {
  const directory = temporaryDirectory()
  const paths = { hosts: join(directory, 'hosts'), lock: join(directory, 'lock') }
  writeFileSync(paths.hosts, FOREIGN)
  const commands = new FakeResolved()
  const clock = new ManualClock()
  const lines: Record<string, unknown>[] = []
  const log = createLog({ level: 'info', write: (line) => void lines.push(JSON.parse(line)), now: () => 0 })
  const hosts = () => readFileSync(paths.hosts, 'utf8')
  const stateOf = (number: number): string => {
    const state = join(directory, `state-${number}`)
    mkdirSync(state, { recursive: true, mode: 0o700 })
    return state
  }
  let resolvedInUse = false
  /** @param number of this node, and of its interface. */
  async function agent(number: number, change: Partial<MeshNamesOptions> = {}) {
    const { id, name, ip4 } = peer(number)
    const port = change.port ?? (await freePort(ip4))
    const names = new MeshNames({
      mode: 'auto',
      iface: `claw${number}`,
      fleet: { id: FLEET, name: 'lab', ipv4Range: '127.53.0.0/16' },
      self: { id, name, ipv4: ip4 },
      stateDirectory: stateOf(number),
      commands,
      clock,
      log,
      hostsPaths: paths,
      isResolvedInUse: () => resolvedInUse,
      ...change,
      port,
    })
    onTestFinished(() => names.stop())
    const resolver = new Resolver({ timeout: 500, tries: 1 })
    resolver.setServers([`${ip4}:${port}`])
    // As a program on a node has it; on the loopback device it would be 127.0.0.1, which is not of the fleet.
    resolver.setLocalAddress(ip4)
    return { names, resolver, port, record: join(stateOf(number), `names-claw${number}.json`) }
  }
  return {
    directory,
    paths,
    commands,
    clock,
    lines,
    log,
    hosts,
    stateOf,
    agent,
    useResolved: () => {
      resolvedInUse = true
    },
  }
}

async function freePort(address: string): Promise<number> {
  const socket = createSocket('udp4').bind(0, address)
  await once(socket, 'listening')
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(() => resolve()))
  return port
}

const up = async ({ names }: { names: MeshNames }, by: 'hosts' | 'resolved' | null) => {
  names.interfaceUp({ ipv6: false })
  await vi.waitFor(() => {
    expect(names.status.server || names.status.problem !== null).toBe(true)
    expect(names.status.by).toBe(by)
  })
}

const block = (number: number, ...numbers: readonly number[]) =>
  [
    `# BEGIN clawnode claw${number}`,
    ...numbers.map((n) => `127.53.0.${n}\tnode-${n}.lab.internal`),
    `# END clawnode claw${number}`,
    '',
  ].join('\n')

describe('names in /etc/hosts', () => {
  test('follow the map, at once at the server, and in the file when its changes are gathered', async () => {
    const { agent, hosts, clock } = machine()
    const one = await agent(1)
    await up(one, 'hosts')
    expect(hosts()).toBe(FOREIGN + block(1, 1))
    one.names.follow([peer(2), peer(3)])
    expect(await one.resolver.resolve4('node-3.lab.internal')).toEqual(['127.53.0.3'])
    one.names.follow([peer(2)])
    await expect(one.resolver.resolve4('node-3.lab.internal')).rejects.toMatchObject({ code: 'ENOTFOUND' })
    expect(hosts()).toBe(FOREIGN + block(1, 1))
    clock.advance(1_000)
    await vi.waitFor(() => expect(hosts()).toBe(FOREIGN + block(1, 1, 2)))
  })

  test('are gone after a stop, and the note of them too', async () => {
    const { agent, hosts, clock } = machine()
    const one = await agent(1)
    await up(one, 'hosts')
    expect(existsSync(one.record)).toBe(true)
    await one.names.stop()
    expect(hosts()).toBe(FOREIGN)
    expect(existsSync(one.record)).toBe(false)
    expect(clock.pending).toBe(0)
    await expect(one.resolver.resolve4('node-1.lab.internal')).rejects.toThrow()
  })

  test('come back when another program has written the file', async () => {
    const { agent, hosts, paths, clock } = machine()
    await up(await agent(1), 'hosts')
    writeFileSync(paths.hosts, '127.0.0.1\tlocalhost newname\n')
    clock.advance(60_000)
    await vi.waitFor(() => expect(hosts()).toBe(`127.0.0.1\tlocalhost newname\n${block(1, 1)}`))
  })

  test('of two agents on a machine do not disturb each other', async () => {
    const { agent, hosts, clock } = machine()
    const [one, two] = [await agent(1), await agent(2)]
    await Promise.all([up(one, 'hosts'), up(two, 'hosts')])
    expect(hosts()).toContain(block(1, 1))
    expect(hosts()).toContain(block(2, 2))
    expect(await one.resolver.resolve4('node-1.lab.internal')).toEqual(['127.53.0.1'])
    expect(await two.resolver.resolve4('node-2.lab.internal')).toEqual(['127.53.0.2'])
    two.names.follow([peer(3)])
    clock.advance(1_000)
    await vi.waitFor(() => expect(hosts()).toContain(block(2, 2, 3)))
    await one.names.stop()
    expect(hosts()).toBe(FOREIGN + block(2, 2, 3))
    expect(await two.resolver.resolve4('node-3.lab.internal')).toEqual(['127.53.0.3'])
  })

  test('are there also when another has the port, which is said once, and taken when it is free', async () => {
    const { agent, hosts, lines, clock } = machine()
    const taken = createSocket('udp4').bind({ port: 0, address: '127.53.0.1', exclusive: true })
    await once(taken, 'listening')
    const one = await agent(1, { port: taken.address().port })
    await up(one, 'hosts')
    expect(one.names.status).toMatchObject({ server: false, problem: expect.stringContaining('EADDRINUSE') })
    expect(hosts()).toBe(FOREIGN + block(1, 1))
    clock.advance(60_000)
    await new Promise<void>((resolve) => taken.close(() => resolve()))
    clock.advance(60_000)
    await vi.waitFor(() => expect(one.names.status).toMatchObject({ server: true, problem: null }))
    expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
  })

  test('that cannot be written are said once, and cost nothing else', async () => {
    const { agent, paths, lines, clock } = machine()
    rmSync(paths.hosts)
    mkdirSync(paths.hosts)
    const one = await agent(1)
    await up(one, null)
    await vi.waitFor(() => expect(one.names.status.problem).toContain('not a regular file'))
    expect(await one.resolver.resolve4('node-1.lab.internal')).toEqual(['127.53.0.1'])
    for (let minute = 0; minute < 3; minute++) {
      const looked = clock.scheduled((ms) => ms === 60_000)
      clock.advance(60_000)
      await looked
    }
    await one.names.stop()
    expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
    expect(readdirSync(paths.hosts)).toEqual([])
    expect(existsSync(one.record)).toBe(false)
  })

  test('are as many as a file can do with, this node’s first', async () => {
    const { agent, hosts } = machine()
    const one = await agent(1)
    const peers = Array.from({ length: 2_500 }, (_, n) => ({
      ...peer(2, `peer-${n}`),
      ip4: Ipv4.parse(`127.53.${1 + (n >> 8)}.${n & 255}`),
    }))
    one.names.follow(peers)
    await up(one, 'hosts')
    expect(hosts().match(/internal$/gm)).toHaveLength(2_000)
    expect(hosts()).toContain('\tnode-1.lab.internal\n')
    expect(one.names.status.problem).toContain('only 2000 of 2501')
    expect(await one.resolver.resolve4('peer-2499.lab.internal')).toHaveLength(1)
  })
})

describe('names by systemd-resolved', () => {
  const HOOKED = [
    /^resolvectl domain claw1 ~lab\.internal ~53\.127\.in-addr\.arpa ~([0-9a-f]\.){10}d\.f\.ip6\.arpa$/,
    /^resolvectl default-route claw1 no$/,
    /^resolvectl dnssec claw1 no$/,
    /^resolvectl dnsovertls claw1 no$/,
    /^resolvectl llmnr claw1 no$/,
    /^resolvectl mdns claw1 no$/,
    /^resolvectl dns claw1 127\.53\.0\.1$/,
  ].map((pattern) => expect.stringMatching(pattern))

  test('are asked of this node’s server, and nothing else is; the file is left alone', async () => {
    const { agent, useResolved, commands, hosts } = machine()
    useResolved()
    const one = await agent(1)
    await up(one, 'resolved')
    expect(commands.calls).toEqual(HOOKED)
    expect(hosts()).toBe(FOREIGN)
    commands.calls.length = 0
    await one.names.stop()
    expect(commands.calls).toEqual(['resolvectl revert claw1'])
    expect(existsSync(one.record)).toBe(false)
  })

  test('are set up once for an interface, and again for one that was made anew', async () => {
    const { agent, useResolved, commands, clock } = machine()
    useResolved()
    const one = await agent(1)
    await up(one, 'resolved')
    one.names.follow([peer(2)])
    const looked = clock.scheduled((ms) => ms === 60_000)
    clock.advance(1_000)
    await looked
    expect(commands.calls).toHaveLength(HOOKED.length)
    one.names.interfaceUp({ ipv6: false })
    await vi.waitFor(() => expect(commands.calls).toEqual([...HOOKED, ...HOOKED]))
  })

  test('that it does not take are undone and go into the file instead, unless that is not wanted', async () => {
    for (const [mode, by] of [
      ['auto', 'hosts'],
      ['resolved', null],
    ] as const) {
      const { agent, useResolved, commands, hosts } = machine()
      useResolved()
      commands.broken = 'resolvectl dns '
      const one = await agent(1, { mode })
      await up(one, by)
      expect(commands.calls.at(-1)).toBe('resolvectl revert claw1')
      expect(hosts()).toBe(by === null ? FOREIGN : FOREIGN + block(1, 1))
      expect(one.names.status.problem).toContain('systemd-resolved cannot be set up: resolvectl exited')
    }
  })

  test('are not, where it is not asked or not wanted', async () => {
    const unused = machine()
    const one = await unused.agent(1, { mode: 'resolved' })
    await up(one, null)
    expect(one.names.status.problem).toContain('not in use')
    const unwanted = machine()
    unwanted.useResolved()
    await up(await unwanted.agent(1, { mode: 'hosts' }), 'hosts')
    expect([...unused.commands.calls, ...unwanted.commands.calls]).toEqual([])
    expect(unused.hosts()).toBe(FOREIGN)
  })

  test.each([
    ['nameserver 127.0.0.53\n', 'hosts: files dns', true],
    ['nameserver 127.0.0.54 \n', '', true],
    ['nameserver 8.8.8.8\n', 'hosts:  files mymachines resolve [!UNAVAIL=return] dns', true],
    ['nameserver 8.8.8.8\n# nameserver 127.0.0.53', 'hosts: files dns\n# hosts: resolve', false],
    ['nameserver 127.0.0.1\n', 'hosts: files unresolved', false],
  ])('is it asked? %j, %j', (conf, nsswitch, expected) => {
    expect(isResolvedInUse((path) => (path === '/etc/resolv.conf' ? conf : nsswitch))).toBe(expected)
  })

  test('is not asked on a machine that has none of its files', () => {
    expect(
      isResolvedInUse(() => {
        throw new Error('ENOENT')
      }),
    ).toBe(false)
  })
})

describe('after a crash', () => {
  /** Leaves everything as it is, as `kill -9` does, but lets go of the sockets. */
  async function crash(number: number, from: ReturnType<typeof machine>, by: 'hosts' | 'resolved') {
    const one = await from.agent(number)
    await up(one, by)
    const left = { hosts: from.hosts(), record: readFileSync(one.record) }
    await one.names.stop()
    writeFileSync(from.paths.hosts, left.hosts)
    writeFileSync(one.record, left.record, { mode: 0o600 })
    from.commands.calls.length = 0
  }

  const remove = (from: ReturnType<typeof machine>, except?: string) =>
    removeLeftNames({
      stateDirectory: from.stateOf(1),
      commands: from.commands,
      log: from.log,
      except,
      paths: from.paths,
    })

  test('the next run without names takes away what is left', async () => {
    const from = machine()
    await crash(1, from, 'hosts')
    expect(from.hosts()).toBe(FOREIGN + block(1, 1))
    await remove(from, 'claw1')
    expect(from.hosts()).toBe(FOREIGN + block(1, 1))
    await remove(from)
    expect(from.hosts()).toBe(FOREIGN)
    expect(readdirSync(from.stateOf(1))).toEqual([])
  })

  test('the next run with names takes them over without a gap, or changes the way', async () => {
    const from = machine()
    await crash(1, from, 'hosts')
    const before = from.hosts()
    const again = await from.agent(1)
    expect(from.hosts()).toBe(before)
    await up(again, 'hosts')
    await again.names.stop()
    expect(from.hosts()).toBe(FOREIGN)

    await crash(1, from, 'hosts')
    from.useResolved()
    await up(await from.agent(1), 'resolved')
    await vi.waitFor(() => expect(from.hosts()).toBe(FOREIGN))
  })

  test('systemd-resolved is told to forget, but not for an interface of another boot or another making', async () => {
    const from = machine()
    from.useResolved()
    await crash(1, from, 'resolved')
    const record = join(from.stateOf(1), 'names-claw1.json')
    const content = JSON.parse(readFileSync(record, 'utf8'))
    for (const change of [{ boot: 'another' }, { index: 77 }]) {
      writeFileSync(record, JSON.stringify({ ...content, ...change }), { mode: 0o600 })
      await remove(from)
      expect(from.commands.calls).toEqual([])
      expect(existsSync(record)).toBe(false)
    }
    writeFileSync(record, JSON.stringify(content), { mode: 0o600 })
    await remove(from)
    expect(from.commands.calls).toEqual(['resolvectl revert claw1'])
  })

  test('what cannot be taken away stays noted for the run after', async () => {
    const from = machine()
    await crash(1, from, 'hosts')
    const { hosts } = from.paths
    const content = from.hosts()
    rmSync(hosts)
    mkdirSync(hosts)
    await remove(from)
    expect(from.lines.at(-1)).toMatchObject({ level: 'warn', interface: 'claw1' })
    rmSync(hosts, { recursive: true })
    writeFileSync(hosts, content)
    await remove(from)
    expect(from.hosts()).toBe(FOREIGN)
  })
})

test('a fleet whose name is no label has no names, and nothing of it is written anywhere', async () => {
  const { agent, hosts, commands, useResolved } = machine()
  useResolved()
  const fleet = { id: FLEET, name: 'x.internal\n127.0.0.1 bank.example', ipv4Range: '127.53.0.0/16' }
  const one = await agent(1, { fleet })
  await up(one, null)
  expect(one.names.status).toMatchObject({
    domain: null,
    server: false,
    problem: expect.stringContaining('label'),
  })
  expect(hosts()).toBe(FOREIGN)
  expect(commands.calls).toEqual([])
})
