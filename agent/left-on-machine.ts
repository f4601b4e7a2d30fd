/** Takes away what a node has on its machine beside its state directory, however its agent has ended. */
import { EXIT, UserError } from '../host/user-error.ts'
import type { NodeConfig } from './config/node-config.ts'
import { namesLeft, removeLeftNames } from './dns/left-names.ts'
import { stderrLog } from './log.ts'
import { systemCommands } from './mesh/exec.ts'
import { removeLeftMesh } from './mesh/left-mesh.ts'
import { loadKeys } from './node-keys.ts'

/** To be called by whoever holds the directory's lock: no agent of it runs then. @throws UserError if something stays. */
export async function removeLeftOnMachine(
  config: Pick<NodeConfig, 'directory' | 'interface' | 'logLevel'>,
): Promise<void> {
  const { directory, interface: iface, logLevel } = config
  const about = { stateDirectory: directory, commands: systemCommands }
  // What systemd-resolved was told of an interface goes with it.
  const problems = await removeLeftMesh({ ...about, iface, publicKey: await publicKeyIn(directory) })
  await removeLeftNames({ ...about, log: stderrLog(logLevel), except: undefined })
  problems.push(...namesLeft(directory).map((name) => `the names of ${name} are still in /etc/hosts`))
  if (problems.length > 0) throw notAll(problems)
}

async function publicKeyIn(directory: string) {
  try {
    return (await loadKeys(directory)).wireguard.publicKey
  } catch (error) {
    // Then only what is noted is ours.
    if (error instanceof UserError) return undefined
    throw error
  }
}

const notAll = (problems: readonly string[]): UserError =>
  new UserError({
    code: 'E_LEFT_BEHIND',
    message: 'some of this node could not be taken away from this machine; its state is kept',
    why: problems.join('; '),
    fix: 'mend that, then run the same command again',
    exitCode: EXIT.failure,
  })
