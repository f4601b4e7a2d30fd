/**
 * A fleet on one machine: a gateway and nodes, each in a network namespace of its own, run as a user would run them: the real programs,
 * real WireGuard, real TLS. Everything it starts, it ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { buffer, text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { NodeList } from '../protocol/http.ts'
import { addRouter } from '../test/support/nat-lab.ts'
import { type Host, Lan, processesIn, uniqueInterface } from '../test/support/netns.ts'

const CLAW = fileURLToPath(new URL('../bin/claw.js', import.meta.url))
const CLAWNODE = fileURLToPath(new URL('../bin/clawnode.js', import.meta.url))
const PORT = 8443

export interface Finished {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

export interface NodeStatusReport {
  readonly id: string
  readonly name: string
  readonly session: string
  readonly ipv4: string
  readonly ipv6: string
  readonly peers: readonly {
    readonly name: string
    readonly path: string
    readonly lastHandshake: string | null
  }[]
}

export class Lab {
  readonly directory = mkdtempSync(join(tmpdir(), 'claw-lab-'))
  readonly #lan = new Lan()
  readonly #gatewayHost = this.#lan.addHost()
  readonly #machines: Machine[] = []
  #gateway: ChildProcess | undefined
  #env: Readonly<Record<string, string>> = {}

  get url(): string {
    return `https://${this.#gatewayHost.address}:${PORT}`
  }

  get gatewayHost(): Host {
    return this.#gatewayHost
  }

  get caFile(): string {
    return join(this.directory, 'gateway', 'ca.pem')
  }

  /** Resolves when it serves. @param flags of `claw up` beside those that make it reachable. */
  async startGateway(flags: readonly string[] = []): Promise<void> {
    const address = this.#gatewayHost.address
    const args = [
      'up',
      '--json',
      '--dir',
      join(this.directory, 'gateway'),
      '--host',
      '0.0.0.0',
      '--port',
      String(PORT),
    ]
    const gateway = start(
      this.#gatewayHost,
      CLAW,
      [...args, '--name', address, ...flags],
      this.#logFile('gateway'),
    )
    this.#gateway = gateway
    const ended = once(gateway, 'exit').then(() =>
      Promise.reject(new Error(`the gateway ended:\n${this.log('gateway')}`)),
    )
    if (gateway.stdout === null) throw new Error('the gateway has no output')
    const [line] = await Promise.race([once(createInterface(gateway.stdout), 'line'), ended])
    ended.catch(() => undefined)
    const { ca, adminTokenFile } = JSON.parse(String(line)) as { ca: string; adminTokenFile: string }
    this.#env = { CLAW_GATEWAY: this.url, CLAW_CA: ca, CLAW_TOKEN_FILE: adminTokenFile }
  }

  async stopGateway(): Promise<void> {
    await end(this.#gateway, 'SIGTERM')
  }

  /** As if its machine had lost power: workerd goes, too, which would otherwise serve on without its parent. */
  async killGateway(): Promise<void> {
    for (const pid of await processesIn(this.#gatewayHost.namespace)) process.kill(pid, 'SIGKILL')
    await end(this.#gateway, 'SIGKILL')
  }

  /** `claw …` on the gateway's machine. */
  claw(args: readonly string[], input: string | Uint8Array = ''): Promise<Finished> {
    return run(this.#gatewayHost, CLAW, args, input, this.#env)
  }

  /** `claw …` that must succeed, and its output. */
  async clawOutput(args: readonly string[], input: string | Uint8Array = ''): Promise<string> {
    return output(`claw ${args[0]} ${args[1]}`, await this.claw(args, input))
  }

  async nodes(): Promise<NodeList['items']> {
    return NodeList.parse(JSON.parse(await this.clawOutput(['node', 'ls', '-o', 'json']))).items
  }

  /** @param nat behind a router of its own whose ports differ for each destination. */
  addMachine(name: string, { nat = false } = {}): Machine {
    const machine = new Machine(
      name,
      nat ? addRouter(this.#lan, 'symmetric').addHost() : this.#lan.addHost(),
      join(this.directory, name),
      this.#logFile(name),
      this,
    )
    this.#machines.push(machine)
    return machine
  }

  /** A machine that has not joined. */
  addHost(): Host {
    return this.#lan.addHost()
  }

  /** A file that the machines share, as a person would carry it over. */
  file(name: string, content: string): string {
    const path = join(this.directory, name)
    writeFileSync(path, content, { mode: 0o600 })
    return path
  }

  log(name: string): string {
    return readFileSync(this.#logFile(name), 'utf8')
  }

  async destroy(): Promise<void> {
    await Promise.all(this.#machines.map((machine) => machine.end('SIGTERM')))
    await this.stopGateway()
    this.#lan.destroy()
    rmSync(this.directory, { recursive: true, force: true })
  }

  #logFile(name: string): string {
    return join(this.directory, `${name}.log`)
  }
}

export class Machine {
  readonly name: string
  readonly directory: string
  readonly interface = uniqueInterface()
  readonly host: Host
  readonly #log: string
  readonly #lab: Lab
  #agent: ChildProcess | undefined

  constructor(name: string, host: Host, directory: string, log: string, lab: Lab) {
    this.name = name
    this.directory = directory
    this.host = host
    this.#log = log
    this.#lab = lab
  }

  async join(tokenFile: string): Promise<void> {
    const args = ['join', '--gateway', this.#lab.url, '--token-file', tokenFile, '--ca', this.#lab.caFile]
    output('clawnode join', await this.clawnode([...args, '--name', this.name, '--dir', this.directory]))
  }

  start(options: readonly string[] = [], env: NodeJS.ProcessEnv = process.env): void {
    const args = ['run', '--dir', this.directory, '--interface', this.interface, '--userspace', ...options]
    this.#agent = start(this.host, CLAWNODE, args, this.#log, env)
  }

  /** Ends the agent; with SIGKILL, WireGuard stays. */
  end(signal: NodeJS.Signals): Promise<void> {
    return end(this.#agent, signal)
  }

  /** Resolves to the agent's exit code when it has ended by itself. */
  async ended(): Promise<number | null> {
    const agent = this.#agent
    if (agent === undefined) throw new Error('no agent was started')
    if (agent.exitCode === null && agent.signalCode === null) await once(agent, 'exit')
    return agent.exitCode
  }

  /** Out of the fleet, and all of it off the machine. */
  async leave(): Promise<void> {
    output('clawnode leave', await this.clawnode(['leave', '--dir', this.directory, '--yes']))
  }

  clawnode(args: readonly string[]): Promise<Finished> {
    return run(this.host, CLAWNODE, args)
  }

  async status(): Promise<NodeStatusReport> {
    const { stdout } = await this.clawnode(['status', '--dir', this.directory, '-o', 'json'])
    return JSON.parse(stdout.toString()) as NodeStatusReport
  }

  /** `clawnode exec`, with the command's own output. */
  exec(secrets: readonly string[], command: readonly string[]): Promise<Finished> {
    const flags = secrets.flatMap((secret) => ['--secret', secret])
    return this.clawnode(['exec', '--dir', this.directory, ...flags, '--', ...command])
  }

  /** Packets sent and lost, once `count` have gone out at 10 a second. */
  async ping(address: string, count: number): Promise<{ readonly sent: number; readonly lost: number }> {
    const { stdout } = await run(this.host, 'ping', [
      '-n',
      '-q',
      '-i',
      '0.1',
      '-W',
      '1',
      '-c',
      String(count),
      address,
    ])
    const match = /(\d+) packets transmitted, (\d+) received/.exec(stdout.toString())
    const sent = Number(match?.[1] ?? count)
    return { sent, lost: sent - Number(match?.[2] ?? 0) }
  }

  /** Any command in this machine's network. */
  run(command: string, ...args: readonly string[]): Promise<string> {
    return this.host.exec(command, ...args)
  }
}

const program = (command: string, args: readonly string[]): readonly [string, readonly string[]] =>
  command.endsWith('.js') ? [process.execPath, [command, ...args]] : [command, args]

function start(
  host: Host,
  command: string,
  args: readonly string[],
  log: string,
  env: NodeJS.ProcessEnv = process.env,
): ChildProcess {
  const descriptor = openSync(log, 'a', 0o600)
  return host.spawn(...program(command, args), { stdio: ['ignore', 'pipe', descriptor], env })
}

async function run(
  host: Host,
  command: string,
  args: readonly string[],
  input: string | Uint8Array = '',
  env: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  const [file, argv] = program(command, args)
  const child = spawn('ip', ['netns', 'exec', host.namespace, file, ...argv], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  child.stdin.on('error', () => undefined).end(input)
  const [stdout, stderr] = await Promise.all([buffer(child.stdout), text(child.stderr), once(child, 'exit')])
  return { code: child.exitCode, stdout, stderr }
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}

function output(what: string, { code, stdout, stderr }: Finished): string {
  if (code !== 0) throw new Error(`${what} ended with ${code}:\n${stderr}`)
  return stdout.toString()
}
