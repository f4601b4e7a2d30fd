/** `clawnode run`: the agent itself, in the foreground, as a service manager starts it. */
import { defineCommand } from '../../host/command-line.ts'
import { EXIT } from '../../host/user-error.ts'
import { systemClock } from '../clock.ts'
import { loadNodeConfig } from '../config/node-config.ts'
import { removeLeftNames } from '../dns/left-names.ts'
import { type JoinedNode, openJoinedNode } from '../joined-node.ts'
import { LocalApi } from '../local-api.ts'
import { stderrLog } from '../log.ts'
import { systemCommands } from '../mesh/exec.ts'
import { readNodeState } from '../node-state.ts'
import { RunningAgent } from '../running-agent.ts'
import { forgetCached } from '../secrets/secret-cache.ts'
import { startMesh } from '../start-mesh.ts'
import { configFlags, configOptions, meshOptions } from './configuration.ts'

export const runCommand = defineCommand({
  name: 'run',
  summary: 'keep this machine connected to its fleet',
  details:
    'Logs are JSON lines on standard error; CLAWNODE_LOG=debug shows more. SIGTERM says goodbye to the gateway and removes the ' +
    'interface; after `kill -9` the interface stays up, and the next run takes it over. Exits with 194 when the node was removed from ' +
    'its fleet: a service manager must not restart it then.',
  options: { ...configOptions, ...meshOptions },
  run: async ({ options }) => {
    const config = loadNodeConfig(configFlags(options))
    process.umask(0o077)
    const stop = stopOnSignal()
    const log = stderrLog(config.logLevel)
    readNodeState(config.directory)
    const started = Promise.withResolvers<RunningAgent>()
    const api = await LocalApi.listen(config.directory, started.promise)
    let node: JoinedNode | undefined
    try {
      // What was there before the lock was ours, a command that had it may have taken away: `leave` does.
      node = await openJoinedNode(config.directory, systemClock, config)
      if (!config.secretsCache.isKept) forgetCached(node.directory, log)
      await removeLeftNames({
        stateDirectory: node.directory,
        commands: systemCommands,
        log,
        except: config.mesh && config.names !== 'off' ? config.interface : undefined,
      })
      const mesh = config.mesh ? await startMesh({ node, clock: systemClock, log, config }) : undefined
      const agent = new RunningAgent({ node, clock: systemClock, log, mesh, config })
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
      node?.connection.close()
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
