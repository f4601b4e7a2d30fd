/** Takes out of the machine's name resolution what an agent of this directory has put there. */
import type { Log } from '../log.ts'
import type { Commands } from '../mesh/exec.ts'
import { HostsFile, type HostsPaths, SYSTEM_HOSTS } from './hosts-file.ts'
import { type Hook, NamesRecord, recordedInterfaces } from './names-record.ts'
import { revertNames } from './resolved.ts'

interface System {
  readonly commands: Commands
  readonly hosts: HostsFile
}

/** @returns why it is still there. */
export async function unhook(
  hook: Hook,
  iface: string,
  { commands, hosts }: System,
): Promise<string | undefined> {
  if (hook === 'hosts') {
    const result = hosts.setBlock(iface, [])
    return result.ok ? undefined : result.error
  }
  try {
    await revertNames(commands, iface)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

interface Options {
  readonly stateDirectory: string
  readonly commands: Commands
  readonly log: Log
  /** The interface whose names are about to be served anew: until then they stay as they are. */
  readonly except: string | undefined
  readonly paths?: HostsPaths
}

/** To be called by whoever holds the directory's lock: no agent of it runs then. */
export async function removeLeftNames(options: Options): Promise<void> {
  const { stateDirectory, commands, log, except, paths = SYSTEM_HOSTS } = options
  const system = { commands, hosts: new HostsFile(paths) }
  for (const iface of recordedInterfaces(stateDirectory)) {
    if (iface === except) continue
    const record = new NamesRecord(stateDirectory, iface)
    const left: Hook[] = []
    for (const hook of record.read()) {
      const problem = await unhook(hook, iface, system)
      if (problem === undefined) continue
      log.warn('the names of an earlier run could not be taken back', { interface: iface, problem })
      left.push(hook)
    }
    if (left.length === 0) record.remove()
  }
}
