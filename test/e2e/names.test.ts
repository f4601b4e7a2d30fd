/** Names of the mesh with the real programs: two agents, real WireGuard, each machine with its own /etc/hosts. */
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { reverseIpv4 } from '../../agent/dns/reverse.ts'
import { Lab, type Machine } from '../../demo/lab.ts'
import { Ipv4 } from '../../protocol/ids.ts'
import { canMakeNamespaces, processesIn } from '../support/netns.ts'

const FOREIGN = '127.0.0.1\tlocalhost\n# theirs: caf\u00e9\n'
const soon = { timeout: 40_000, interval: 200 }

/** What a program in the machine's network gets from Node's own resolver, told whom to ask. */
const RESOLVE = `
  const { Resolver } = require('node:dns').promises
  const [, server, method, name] = process.argv
  const resolver = new Resolver({ timeout: 2000, tries: 1 })
  resolver.setServers([server])
  resolver[method](name).then((found) => console.log(found.join(' ')), ({ code }) => console.log(code))`

describe.skipIf(!canMakeNamespaces)('names of the mesh (needs root and /dev/net/tun)', () => {
  let lab: Lab
  let a: Machine
  let b: Machine

  beforeAll(async () => {
    lab = new Lab()
    ;[a, b] = [lab.addMachine('alpha'), lab.addMachine('bravo')]
    for (const { host } of [a, b]) host.writeEtc('hosts', FOREIGN)
    await lab.startGateway()
    for (const machine of [a, b]) {
      const token = await lab.clawOutput(['token', 'create'])
      await machine.join(lab.file(`${machine.name}.token`, token))
      machine.start()
    }
  })
  afterAll(() => lab?.destroy())

  const resolve = async (on: Machine, server: string, method: string, name: string): Promise<string> =>
    (await on.run(process.execPath, '-e', RESOLVE, server, method, name)).trim()

  /** As every program that asks the C library finds it; empty if there is no such name. */
  const getent = (on: Machine, database: string, key: string): Promise<string> =>
    on.run('getent', database, key).then(
      (output) => output.trim(),
      () => '',
    )

  const pings = (on: Machine, name: string): Promise<boolean> =>
    on.run('ping', '-c', '1', '-W', '2', name).then(
      () => true,
      () => false,
    )

  const namesLine = async (on: Machine): Promise<string> => {
    const { stdout } = await on.clawnode(['status', '--dir', on.directory])
    return /^names\s+(.*)$/m.exec(stdout.toString())?.[1] ?? ''
  }

  test('every node has a name that resolves and answers', async () => {
    await vi.waitFor(
      async () => expect(await getent(a, 'ahostsv4', 'bravo.fleet.internal')).not.toBe(''),
      soon,
    )
    const { ipv4, ipv6 } = await b.status()
    expect(await getent(a, 'ahostsv4', 'bravo.fleet.internal')).toContain(ipv4)
    expect(await getent(a, 'ahostsv6', 'bravo.fleet.internal')).toContain(ipv6)
    expect(await getent(a, 'hosts', ipv4)).toContain('bravo.fleet.internal')
    await vi.waitFor(async () => expect(await pings(a, 'bravo.fleet.internal')).toBe(true), soon)
    await vi.waitFor(async () => expect(await pings(b, 'alpha.fleet.internal')).toBe(true), soon)
    expect(await namesLine(a)).toBe('alpha.fleet.internal, by /etc/hosts')
    expect(a.host.hostsFile).toContain(FOREIGN)
  })

  test('the server answers on the mesh addresses only, for the node and for its peers', async () => {
    const [own, other] = [await a.status(), await b.status()]
    for (const server of [own.ipv4, `[${own.ipv6}]`]) {
      for (const from of [a, b]) {
        expect(await resolve(from, server, 'resolve4', 'bravo.fleet.internal')).toBe(other.ipv4)
        expect(await resolve(from, server, 'resolve6', 'bravo.fleet.internal')).toBe(other.ipv6)
        expect(await resolve(from, server, 'resolvePtr', reverseIpv4(Ipv4.parse(other.ipv4)))).toBe(
          'bravo.fleet.internal',
        )
        expect(await resolve(from, server, 'resolve4', 'example.com')).toBe('EREFUSED')
        expect(await resolve(from, server, 'resolve4', 'none.fleet.internal')).toBe('ENOTFOUND')
      }
    }
    expect(await resolve(b, a.host.address, 'resolve4', 'bravo.fleet.internal')).toBe('ECONNREFUSED')
    expect(await resolve(a, '127.0.0.1', 'resolve4', 'bravo.fleet.internal')).toBe('ECONNREFUSED')
  })

  test('who comes to a mesh address by another way than the mesh is not heard', async () => {
    const { ipv4 } = await a.status()
    const stranger = lab.addMachine('stranger')
    // Linux takes the packet: it is for one of its addresses.
    await stranger.run('ip', 'route', 'add', ipv4, 'via', a.host.address)
    expect(await pings(stranger, ipv4)).toBe(true)
    expect(await resolve(stranger, ipv4, 'resolve4', 'bravo.fleet.internal')).toBe('ETIMEOUT')
  })

  test('answers go on after wireguard-go was killed and started anew', async () => {
    const { ipv4 } = await a.status()
    for (const pid of processesIn(a.host.namespace)) {
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('wireguard-go')) process.kill(pid, 'SIGKILL')
    }
    await vi.waitFor(
      async () => expect(await resolve(a, ipv4, 'resolve4', 'alpha.fleet.internal')).toBe(ipv4),
      soon,
    )
  })

  test('after kill -9 the names stay, and the next run takes them over', async () => {
    const before = a.host.hostsFile
    await a.end('SIGKILL')
    expect(a.host.hostsFile).toBe(before)
    expect(readdirSync(a.directory)).toContain(`names-${a.interface}.json`)
    a.start()
    await vi.waitFor(async () => expect((await a.status()).session).toBe('connected'), soon)
    await vi.waitFor(async () => expect(await namesLine(a)).toContain('by /etc/hosts'), soon)
    expect(a.host.hostsFile).toBe(before)
    await vi.waitFor(async () => expect(await pings(a, 'bravo.fleet.internal')).toBe(true), soon)
  })

  test('after kill -9 a run without names leaves nothing', async () => {
    await a.end('SIGKILL')
    a.start(['--no-names'])
    await vi.waitFor(async () => expect((await a.status()).session).toBe('connected'), soon)
    expect(a.host.hostsFile).toBe(FOREIGN)
    expect(existsSync(join(a.directory, `names-${a.interface}.json`))).toBe(false)
    expect(await namesLine(a)).toBe('none')
    const { ipv4 } = await a.status()
    expect(await resolve(a, ipv4, 'resolve4', 'alpha.fleet.internal')).toBe('ECONNREFUSED')
  })

  test('systemd-resolved, where it is asked, is told whom to ask, and to forget it at the end', async () => {
    await a.end('SIGTERM')
    const calls = join(lab.directory, 'resolvectl.calls')
    const program = join(lab.directory, 'resolvectl')
    writeFileSync(program, `#!/bin/sh\necho "$@" >> ${calls}\n`)
    chmodSync(program, 0o755)
    a.host.writeEtc('resolv.conf', 'nameserver 127.0.0.53\n')
    a.start([], { ...process.env, PATH: `${lab.directory}:${process.env['PATH']}` })
    await vi.waitFor(
      async () => expect(await namesLine(a)).toBe('alpha.fleet.internal, by systemd-resolved'),
      soon,
    )
    const { ipv4 } = await a.status()
    const told = readFileSync(calls, 'utf8').trim().split('\n')
    expect(told[0]).toMatch(
      new RegExp(`^domain ${a.interface} ~fleet\\.internal ~100\\.10\\.in-addr\\.arpa ~.*ip6\\.arpa$`),
    )
    expect(told.at(-1)).toBe(`dns ${a.interface} ${ipv4}`)
    expect(a.host.hostsFile).toBe(FOREIGN)
    await a.end('SIGTERM')
    expect(readFileSync(calls, 'utf8').trim().split('\n').at(-1)).toBe(`revert ${a.interface}`)
    a.host.writeEtc('resolv.conf', '')
  })

  test('a node that is removed has no name any more, and on it nothing is left', async () => {
    a.start()
    await vi.waitFor(async () => expect(await getent(a, 'hosts', 'bravo.fleet.internal')).not.toBe(''), soon)
    const { ipv4 } = await a.status()
    await lab.clawOutput(['node', 'rm', 'bravo', '--yes'])
    await vi.waitFor(
      async () => expect(await resolve(a, ipv4, 'resolve4', 'bravo.fleet.internal')).toBe('ENOTFOUND'),
      soon,
    )
    await vi.waitFor(async () => expect(await getent(a, 'hosts', 'bravo.fleet.internal')).toBe(''), soon)
    expect(await getent(a, 'hosts', 'alpha.fleet.internal')).not.toBe('')
    await vi.waitFor(() => expect(b.host.hostsFile).toBe(FOREIGN), soon)
  })

  test('a stop leaves nothing', async () => {
    await a.end('SIGTERM')
    expect(a.host.hostsFile).toBe(FOREIGN)
    expect(readdirSync(a.directory).filter((name) => name.startsWith('names-'))).toEqual([])
  })
})
