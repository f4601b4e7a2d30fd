/** `clawnode run`: the agent itself, in the foreground, as a service manager starts it. */
import { defineCommand } from '../../host/command-line.ts'
import { usageError } from '../../host/options.ts'
import { EXIT } from '../../host/user-error.ts'
import { systemClock } from '../clock.ts'
import { openJoinedNode } from '../joined-node.ts'
import { LocalApi } from '../local-api.ts'
import { createLog, parseLevel } from '../log.ts'
import { RunningAgent } from '../running-agent.ts'
import { startMesh } from '../start-mesh.ts'
import { directoryOption, stateDirectory } from './directory.ts'

export const runCommand = defineCommand({
  name: 'run',
  summary: 'keep this machine connected to its fleet',
  details:
    'Logs are JSON lines on standard error; CLAWNODE_LOG=debug shows more. SIGTERM says goodbye to the gateway and removes the ' +
    'interface; after `kill -9` the interface stays up, and the next run takes it over. Exits with 194 when the node was removed from ' +
    'its fleet: a service manager must not restart it then.',
  options: {
    dir: directoryOption,
    userspace: { type: 'boolean', help: 'use wireguard-go even where the kernel has WireGuard' },
    'no-mesh': { type: 'boolean', help: 'take no part in the mesh; needs no privileges' },
    interface: { type: 'string', value: 'NAME', default: 'claw0', help: "the mesh's network interface" },
    'listen-port': { type: 'string', value: 'PORT', default: '51820', help: 'UDP port of WireGuard' },
  },
  run: async ({ options }) => {
    const listenPort = parsePort(options['listen-port'])
    const iface = parseInterface(options.interface)
    process.umask(0o077)
    const stop = stopOnSignal()
    const log = createLog({
      level: parseLevel(process.env['CLAWNODE_LOG']),
      write: (line) => process.stderr.write(line),
      now: systemClock.now,
    })
    const node = await openJoinedNode(stateDirectory(options.dir), systemClock)
    // Asked for its status before the mesh is up, the agent is not there yet: the caller tries again.
    const started = Promise.withResolvers<RunningAgent>()
    const api = await LocalApi.listen(node.directory, async () => (await started.promise).status())
    try {
      const mesh = options['no-mesh']
        ? undefined
        : await startMesh({ node, clock: systemClock, log, iface, listenPort, userspace: options.userspace })
      const agent = new RunningAgent({ node, clock: systemClock, log, mesh })
      started.resolve(agent)
      const { id, name } = node.state.node
      log.info('agent up', { node: id, name, gateway: node.state.gateway.url, mesh: mesh !== undefined })
      const outcome = await agent.run(stop)
      await mesh?.stop()
      if (outcome === 'stopped') log.info('agent stopped')
      else
        log.error('this node was removed from its fleet', {
          fix: 'join again in an empty directory as a new node',
        })
      return outcome === 'removed' ? EXIT.revoked : EXIT.ok
    } finally {
      await api.close()
      node.connection.close()
    }
  },
})

/** A service manager sends SIGTERM, a terminal SIGINT, a terminal that goes away SIGHUP. */
function stopOnSignal(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.once(signal, () => controller.abort())
  return controller.signal
}

function parsePort(text: string): number {
  const port = Number(text)
  if (/^[0-9]{1,5}$/.test(text) && port >= 1 && port <= 65_535) return port
  throw usageError('--listen-port is a number from 1 to 65535')
}

/** Linux's own limit on names, and nothing that another program could read as a flag. */
function parseInterface(text: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/.test(text)) return text
  throw usageError('--interface is 1 to 15 letters, digits and _ . -')
}
