/** An embedded gateway of the benchmark's own, started as a user would, and what can be read of it from outside. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { AdminClient } from '../cli/admin-client.ts'
import { GatewayConnection } from '../host/gateway-connection.ts'
import { parseGatewayUrl } from '../host/gateway-url.ts'
import { readPrivateFile } from '../host/private-file.ts'

/** Linux counts processor time in hundredths of a second for whoever asks, whatever its own clock (proc(5), sysconf(_SC_CLK_TCK)). */
const MS_PER_TICK = 10
const LAUNCHER = new URL('../bin/claw.js', import.meta.url).pathname

export class EmbeddedGateway {
  readonly directory: string
  readonly connection: GatewayConnection
  readonly admin: AdminClient
  readonly readyMs: number
  readonly #process: ChildProcess
  readonly #token: string

  private constructor(
    fields: Pick<EmbeddedGateway, 'directory' | 'connection' | 'readyMs'> & {
      child: ChildProcess
      token: string
    },
  ) {
    this.directory = fields.directory
    this.connection = fields.connection
    this.readyMs = fields.readyMs
    this.#process = fields.child
    this.#token = fields.token
    this.admin = new AdminClient(this.connection, this.#token)
  }

  static async start(): Promise<EmbeddedGateway> {
    const directory = mkdtempSync(join(tmpdir(), 'claw-bench-'))
    const begun = performance.now()
    const child = spawn(
      process.execPath,
      [LAUNCHER, 'up', '--json', '--port', '0', '--dir', join(directory, 'gateway')],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    const exited = once(child, 'exit').then(() =>
      Promise.reject(new Error('the gateway ended before it was ready')),
    )
    const line = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), exited])
    const ready = JSON.parse(String(line[0])) as { url: string; ca: string; adminTokenFile: string }
    exited.catch(() => undefined)
    const token = Buffer.from(readPrivateFile(ready.adminTokenFile) ?? [])
      .toString('utf8')
      .trim()
    const connection = new GatewayConnection({
      url: parseGatewayUrl(ready.url),
      ca: readFileSync(ready.ca, 'utf8'),
    })
    return new EmbeddedGateway({ directory, connection, readyMs: performance.now() - begun, child, token })
  }

  get origin(): string {
    return this.connection.url.origin
  }

  /** The gateway's own counters, by their short names. */
  async counters(): Promise<Record<string, number>> {
    const { body } = await this.connection.request({
      method: 'GET',
      path: '/metrics',
      headers: { authorization: `Bearer ${this.#token}` },
    })
    const lines = Buffer.from(body)
      .toString('utf8')
      .matchAll(/^claw_gateway_(\w+)_total (\d+)$/gm)
    return Object.fromEntries(Array.from(lines, ([, name, value]) => [name, Number(value)]))
  }

  /** Resident memory of workerd, the gateway itself, in bytes. */
  memory(): number {
    const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readOr(`/proc/${this.#workerd()}/status`))
    return Number(resident?.[1] ?? 0) * 1024
  }

  /** What workerd has computed since it started, on all cores, in ms: unlike a rate, it does not depend on who else uses the machine. */
  cpuMs(): number {
    const [, user, system] = /^(?:\S+ ){11}(\d+) (\d+) /.exec(statOf(this.#workerd())) ?? []
    return (Number(user) + Number(system)) * MS_PER_TICK
  }

  #workerd(): string | undefined {
    const pid = String(this.#process.pid)
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .find(
        (entry) => readOr(`/proc/${entry}/stat`).includes('(workerd)') && statOf(entry).split(' ')[1] === pid,
      )
  }

  async stop(): Promise<void> {
    this.connection.close()
    if (this.#process.exitCode === null) {
      const exited = once(this.#process, 'exit')
      this.#process.kill('SIGTERM')
      await exited
    }
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** What stands behind the name, which may hold anything: state, parent, and so on (proc(5)). */
function statOf(pid: string | undefined): string {
  const stat = readOr(`/proc/${pid}/stat`)
  return stat.slice(stat.lastIndexOf(')') + 2)
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
