/**
 * Machines made of network namespaces: hosts on one LAN, each with an `eth0` in 198.18.0.0/24 (RFC 2544's range for tests). What is behind
 * routers is in nat-lab.ts.
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
  /** Where it was put first. */
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

/** What one test makes, and takes away again also when it fails. */
export class Namespaces {
  readonly #names: string[] = []
  readonly #onExit = () => this.destroy()

  constructor() {
    process.on('exit', this.#onExit)
  }

  /** @returns its name, which no other test has. */
  add(prefix: string): string {
    const name = `${prefix}-${unique()}`
    ip('netns', 'add', name)
    this.#names.push(name)
    ip('-n', name, 'link', 'set', 'lo', 'up')
    return name
  }

  /** A machine with files of its own in /etc. */
  addHost(address: string): Host {
    const host = new Host(this.add('claw-host'), address)
    mkdirSync(etcOf(host.namespace), { recursive: true })
    host.writeEtc('hosts', HOSTS)
    host.writeEtc('resolv.conf', '')
    return host
  }

  /** Ends what still runs in the namespaces, and removes them. */
  destroy(): void {
    process.off('exit', this.#onExit)
    for (const name of this.#names.splice(0)) {
      for (const pid of processesIn(name)) attempt(() => process.kill(pid))
      attempt(() => ip('netns', 'delete', name))
      rmSync(etcOf(name), { recursive: true, force: true })
    }
  }
}

export class Lan {
  readonly namespaces = new Namespaces()
  readonly #switch: string
  #hosts = 0

  constructor() {
    try {
      this.#switch = this.namespaces.add('claw-lan')
      ip('-n', this.#switch, 'link', 'add', 'br0', 'type', 'bridge')
      ip('-n', this.#switch, 'link', 'set', 'br0', 'up')
    } catch (error) {
      this.destroy()
      throw error
    }
  }

  /** @param device by which it is on the LAN. */
  addHost(device = 'eth0'): Host {
    const number = ++this.#hosts
    const host = this.namespaces.addHost(`198.18.0.${number}`)
    plug(host.namespace, device, this.#switch, `port${number}`)
    ip('-n', this.#switch, 'link', 'set', `port${number}`, 'master', 'br0')
    ip('-n', host.namespace, 'address', 'add', `${host.address}/24`, 'dev', device)
    return host
  }

  destroy(): void {
    this.namespaces.destroy()
  }
}

/** A cable between two machines, with both ends up. */
export function plug(a: string, aName: string, b: string, bName: string): void {
  ip('link', 'add', bName, 'netns', b, 'type', 'veth', 'peer', 'name', aName, 'netns', a)
  ip('-n', a, 'link', 'set', aName, 'up')
  ip('-n', b, 'link', 'set', bName, 'up')
}

const HOSTS = '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n'
const etcOf = (namespace: string): string => join('/etc/netns', namespace)

export function processesIn(namespace: string): number[] {
  const pids = attempt(() => ip('netns', 'pids', namespace)) ?? ''
  return pids.split('\n').filter(Boolean).map(Number)
}

export const ip = (...args: readonly string[]): string =>
  execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' })

function attempt<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch {
    return undefined
  }
}
