/** The `claw` program as a process: gateways that end with the test, and commands run to their end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { buffer, text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { readRunFile } from '../../cli/run-file.ts'
import { endProcess } from '../../cli/up/processes.ts'
import type { Ready } from '../../cli/up/up.ts'

const CLAW = join(import.meta.dirname, '../../bin/claw.js')
/** What claw keeps for its person, who is not the one that runs the tests. */
const OWN_DIRECTORY = mkdtempSync(join(tmpdir(), 'claw-own-'))
process.once('exit', () => rmSync(OWN_DIRECTORY, { recursive: true, force: true }))

export interface Finished {
  readonly code: number | null
  readonly bytes: Buffer
  readonly stdout: string
  readonly stderr: string
}

interface RunOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string | Uint8Array
}

/** Runs to the end. Nothing of this process's own CLAW_ settings reaches it. */
export async function claw(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = launch(args, options)
  child.stdin?.end(options.input)
  const [bytes, stderr] = await Promise.all([buffer(child.stdout), text(child.stderr), once(child, 'exit')])
  return { code: child.exitCode, bytes, stdout: bytes.toString(), stderr }
}

export interface RunningGateway extends Ready {
  readonly process: ChildProcess
  /** Where it is, for commands. */
  readonly env: Readonly<Record<string, string>>
  /** Sends a signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<void>
  /** Ends it, and its workerd if that was left behind. */
  dispose(): Promise<void>
}

/** A gateway that ends with the test, whatever the test did to it. */
export async function startGateway(directory: string, ...flags: readonly string[]): Promise<RunningGateway> {
  const gateway = await openGateway(directory, ...flags)
  onTestFinished(gateway.dispose)
  return gateway
}

/** @throws Error with what it printed if it ends instead of serving. */
export async function openGateway(directory: string, ...flags: readonly string[]): Promise<RunningGateway> {
  const port = flags.includes('--port') ? [] : ['--port', '0']
  const child = launch(['up', '--json', '--dir', directory, ...port, ...flags])
  let stderr = ''
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill(signal)
    await once(child, 'exit')
  }
  for await (const line of createInterface({ input: child.stdout })) {
    const ready = JSON.parse(line) as Ready
    const { url, ca, adminTokenFile } = ready
    const workerd = readRunFile(directory)?.workerd
    const dispose = async () => {
      await end('SIGTERM')
      if (workerd !== undefined) await endProcess(workerd)
    }
    const env = { CLAW_GATEWAY: url, CLAW_CA: ca, CLAW_TOKEN_FILE: adminTokenFile }
    return { ...ready, process: child, env, end, dispose }
  }
  throw new Error(`claw up ended with ${child.exitCode}: ${stderr}`)
}

/** Free a moment ago, which has to do. */
export async function unusedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function launch(args: readonly string[], { cwd, env }: RunOptions = {}) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('CLAW_'))
  return spawn(process.execPath, [CLAW, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...Object.fromEntries(inherited), CLAW_HOME: OWN_DIRECTORY, ...env },
    ...(cwd !== undefined && { cwd }),
  })
}
