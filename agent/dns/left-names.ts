/** Takes out of the machine's name resolution what an agent that was killed has left there. */
import type { Log } from '../log.ts'
import type { Commands } from '../mesh/exec.ts'
import { HostsFile, type HostsPaths, SYSTEM_HOSTS } from './hosts-file.ts'
import { MachineNames } from './machine-names.ts'
import { NamesRecord, recordedInterfaces } from './names-record.ts'

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
  const hosts = new HostsFile(paths)
  for (const iface of recordedInterfaces(stateDirectory)) {
    if (iface === except) continue
    await new MachineNames({ iface, stateDirectory, commands, hosts, log }).keepOnly(undefined)
  }
}

/** The interfaces whose names are still in /etc/hosts. */
export const namesLeft = (stateDirectory: string): string[] =>
  recordedInterfaces(stateDirectory).filter((iface) =>
    new NamesRecord(stateDirectory, iface).read().includes('hosts'),
  )
