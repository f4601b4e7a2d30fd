/**
 * Machines made of network namespaces: hosts on one LAN, each with an `eth0` in 198.18.0.0/24 (RFC 2544's range for tests).
 *
 * Namespaces share the file system, and with it /var/run/wireguard: give each WireGuard interface a name of its own, also across
 * namespaces (`uniqueInterface`). Only /etc/hosts and /etc/resolv.conf are each machine's own: `ip netns exec` mounts what is in
 * /etc/netns over them.
 */
import { type ChildProcess, execFile, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Commands, systemCommands } from '../../agent/mesh/exec.ts'

/** Whether this machine can do it at all: root, and a TUN device for wireguard-go. */
export const canMakeNamespaces = process.getuid?.() === 0 && existsSync('/dev/net/tun')

const execFileAsync = promisify(execFile)

let counter = 0
const unique = () => `${process.pid.toString(36)}-${(counter++).toString(36)}`

/** Linux allows 15 characters. */
export const uniqueInterface = (): string => `wg${unique().replace('-', 'x')}`

export class Host {
  readonly namespace: string
  readonly address: string

  constructor(namespace: string, address: string) {
    this.namespace = namespace
    this.address = address
  }

  /** @returns standard output. */
  async exec(command: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await execFileAsync('ip', ['netns', 'exec', this.namespace, command, ...args])
    return stdout
  }

  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn('ip', ['netns', 'exec', this.namespace, command, ...args], options)
  }

  get hostsFile(): string {
    return readFileSync(join(etcOf(this.namespace), 'hosts'), 'utf8')
  }

  /** What the machine's programs find in a file of /etc, from their next start on. */
  writeEtc(name: 'hosts' | 'resolv.conf', content: string): void {
    writeFileSync(join(etcOf(this.namespace), name), content)
  }

  /** For code that runs here and is to act there. */
  get commands(): Commands {
    const prefixed = (program: string, args: readonly string[]) =>
      ['netns', 'exec', this.namespace, program, ...args] as const
    return {
      run: (program, args, input) => systemCommands.run('ip', prefixed(program, args), input),
      launch: (program, args) => systemCommands.launch('ip', prefixed(program, args)),
    }
  }
}

export class Lan {
  readonly #switch = `claw-lan-${unique()}`
  readonly #namespaces: string[] = []
  readonly #onExit = () => this.destroy()
  #hosts = 0

  constructor() {
    process.on('exit', this.#onExit)
    try {
      this.#addNamespace(this.#switch)
      ip('-n', this.#switch, 'link', 'add', 'br0', 'type', 'bridge')
      ip('-n', this.#switch, 'link', 'set', 'br0', 'up')
    } catch (error) {
      this.destroy()
      throw error
    }
  }

  addHost(): Host {
    const number = ++this.#hosts
    const namespace = `claw-host-${unique()}`
    const address = `198.18.0.${number}`
    const port = `port${number}`
    this.#addNamespace(namespace)
    ip('link', 'add', port, 'netns', this.#switch, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
    ip('-n', this.#switch, 'link', 'set', port, 'master', 'br0', 'up')
    ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0')
    ip('-n', namespace, 'link', 'set', 'eth0', 'up')
    mkdirSync(etcOf(namespace), { recursive: true })
    const host = new Host(namespace, address)
    host.writeEtc('hosts', HOSTS)
    host.writeEtc('resolv.conf', '')
    return host
  }

  /** A host behind a router of its own, which gives each flow another port: a symmetric NAT, as of a careful firewall. */
  addHostBehindNat(): Host {
    const router = this.addHost()
    const namespace = `claw-host-${unique()}`
    this.#addNamespace(namespace)
    ip(
      'link',
      'add',
      'lan',
      'netns',
      router.namespace,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      namespace,
    )
    ip('-n', router.namespace, 'address', 'add', '192.168.77.1/24', 'dev', 'lan')
    ip('-n', router.namespace, 'link', 'set', 'lan', 'up')
    ip('-n', namespace, 'address', 'add', '192.168.77.2/24', 'dev', 'eth0')
    ip('-n', namespace, 'link', 'set', 'eth0', 'up')
    ip('-n', namespace, 'route', 'add', 'default', 'via', '192.168.77.1')
    ip('netns', 'exec', router.namespace, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
    execFileSync('ip', ['netns', 'exec', router.namespace, 'nft', '-f', '-'], { input: SYMMETRIC_NAT })
    mkdirSync(etcOf(namespace), { recursive: true })
    const host = new Host(namespace, '192.168.77.2')
    host.writeEtc('hosts', HOSTS)
    host.writeEtc('resolv.conf', '')
    return host
  }

  /** Ends what still runs in the namespaces, and removes them. */
  destroy(): void {
    process.off('exit', this.#onExit)
    for (const namespace of this.#namespaces.splice(0)) {
      for (const pid of processesIn(namespace)) attempt(() => process.kill(pid))
      attempt(() => ip('netns', 'delete', namespace))
      rmSync(etcOf(namespace), { recursive: true, force: true })
    }
  }

  #addNamespace(name: string): void {
    ip('netns', 'add', name)
    this.#namespaces.push(name)
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }
}

/** Without the drop Linux itself would answer a peer's first packet, and the mapping would move. */
const SYMMETRIC_NAT = `table ip nat {
  chain postrouting { type nat hook postrouting priority 100; oifname "eth0" masquerade fully-random; }
  chain input { type filter hook input priority 0; iifname "eth0" ct state new drop; }
  chain forwarding {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan" accept
  }
}
`
const HOSTS = '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n'
const etcOf = (namespace: string): string => join('/etc/netns', namespace)

export function processesIn(namespace: string): number[] {
  const pids = attempt(() => ip('netns', 'pids', namespace)) ?? ''
  return pids.split('\n').filter(Boolean).map(Number)
}

const ip = (...args: readonly string[]): string =>
  execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' })

function attempt<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch {
    return undefined
  }
}
