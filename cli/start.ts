/** `npm start`: a gateway on this machine, and this machine as its first node. Ends when either ends, or on Ctrl-C. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { writePrivateFile } from '../host/private-file.ts'
import { printError } from '../host/user-error.ts'
import { withGateway } from './connection.ts'
import { meshObstacle } from './mesh-obstacle.ts'
import { DEFAULT_DIRECTORY } from './run-file.ts'
import type { Ready } from './up/up.ts'

const NODE_DIRECTORY = join(DEFAULT_DIRECTORY, 'node')
const CLAW = fileURLToPath(new URL('../bin/claw.js', import.meta.url))
const CLAWNODE = fileURLToPath(new URL('../bin/clawnode.js', import.meta.url))

const children: ChildProcess[] = []

async function start(): Promise<number> {
  const stopSignal = Promise.race(
    (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => once(process, signal)),
  )
  const gateway = launch(CLAW, [
    'up',
    '--json',
    '--dir',
    DEFAULT_DIRECTORY,
    '--host',
    '0.0.0.0',
    ...process.argv.slice(2),
  ])
  const ready = await readiness(gateway)
  if (ready === undefined) return 1

  const local = localUrl(ready)
  if (!existsSync(join(NODE_DIRECTORY, 'node.json')) && !(await joinThisMachine(ready, local))) return 1
  const obstacle = meshObstacle()
  const node = launch(CLAWNODE, [
    'run',
    '--dir',
    NODE_DIRECTORY,
    ...(obstacle === undefined ? [] : ['--no-mesh']),
  ])
  process.stdout.write(welcome(ready, obstacle))

  const ended = await Promise.race([stopSignal, once(gateway, 'exit'), once(node, 'exit')])
  const signalled = typeof ended[0] === 'string'
  return signalled ? 0 : 1
}

/** Joins through `clawnode`, as any machine does, with a token for this one use. */
async function joinThisMachine(ready: Ready, gateway: string): Promise<boolean> {
  const tokenFile = join(DEFAULT_DIRECTORY, 'join.token')
  // Named in full: what the caller's environment says of another gateway is not for this one.
  const place = { gateway, ca: ready.ca, 'token-file': ready.adminTokenFile }
  const { token } = await withGateway(place, (client) => client.createToken({ ttlMs: 60_000 }))
  writePrivateFile(tokenFile, token)
  try {
    const joining = launch(CLAWNODE, [
      'join',
      '--gateway',
      gateway,
      '--token-file',
      tokenFile,
      '--dir',
      NODE_DIRECTORY,
    ])
    joining.stdout?.pipe(process.stderr)
    const [code] = await once(joining, 'exit')
    return code === 0
  } finally {
    rmSync(tokenFile)
  }
}

/** Undefined if it ended before it served; it has said why. */
async function readiness(gateway: ChildProcess): Promise<Ready | undefined> {
  if (gateway.stdout === null) throw new TypeError('the gateway was started without a pipe')
  for await (const line of createInterface({ input: gateway.stdout })) return JSON.parse(line) as Ready
  return undefined
}

function launch(script: string, args: readonly string[]): ChildProcess {
  const env = { CLAWNODE_LOG: 'warn', ...process.env }
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'], env })
  children.push(child)
  return child
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

/** By a name that stays when the machine's address changes. */
function localUrl({ url }: Ready): string {
  const { port } = new URL(url)
  return new URL(`https://localhost${port === '' ? '' : `:${port}`}`).origin
}

const welcome = ({ url, adminTokenFile }: Ready, meshless: string | undefined): string => `
The gateway serves ${url}, and this machine is its first node${meshless === undefined ? '' : `, without mesh: ${meshless}`}.

  admin token   ${adminTokenFile}
  look around   npx claw node ls

Another machine joins with a token of its own:
  on this one   npx claw token create > join.token
  on that one   npx clawnode join --gateway ${url} --token-file join.token && npx clawnode run

Ctrl-C stops both.
`

try {
  process.exitCode = await start()
} catch (error) {
  process.exitCode = printError(error)
} finally {
  // The node first, so that it can say goodbye.
  for (const child of children.reverse()) await stop(child)
}
