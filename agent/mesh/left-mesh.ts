/** Takes away what an agent that was killed has left of the mesh on this machine: interfaces, our nftables tables, forwarding that we turned on. */
import { utf8 } from '../../crypto/bytes.ts'
import type { WireGuardKey } from '../../protocol/ids.ts'
import { SystemBackend } from './backend.ts'
import { CommandError, type Commands } from './exec.ts'
import { removeScript } from './firewall-script.ts'
import { Forwarding } from './forwarding.ts'
import { forwardingNote } from './forwarding-note.ts'
import { notedInterfaces } from './interface-record.ts'
import { noPortTable } from './paths/port-table.ts'
import { removeLeftRules } from './relay/loopback.ts'

interface Options {
  readonly stateDirectory: string
  /** Of the node; undefined if it cannot be known any more. */
  readonly publicKey: WireGuardKey | undefined
  /** That its next agent would make, beside those that are noted. */
  readonly iface: string
  readonly commands: Commands
}

/** To be called by whoever holds the directory's lock: no agent of it runs then. @returns what could not be taken away, and why. */
export async function removeLeftMesh({ iface, ...options }: Options): Promise<string[]> {
  const problems: string[] = []
  for (const name of new Set([...notedInterfaces(options.stateDirectory), iface])) {
    try {
      await removeInterface(name, options)
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      // Without `ip` there is no interface of ours.
      if (error.failure !== 'missing') problems.push(`${name}: ${error.message}`)
    }
  }
  return problems
}

async function removeInterface(
  iface: string,
  { stateDirectory, publicKey, commands }: Omit<Options, 'iface'>,
): Promise<void> {
  const forwarding = new Forwarding(commands, forwardingNote(stateDirectory, iface))
  await forwarding.follow(NOWHERE)
  const backend = new SystemBackend({ commands, iface, publicKey, stateDirectory, userspace: false })
  if (!(await backend.removeLeft())) return
  for (const script of [removeScript(iface), noPortTable(iface)])
    await commands.run('nft', ['-f', '/dev/stdin'], utf8(script)).catch(ignoreWithoutNftables)
  await removeLeftRules(commands, iface)
}

const NOWHERE = [
  { family: 'ipv4', devices: [] },
  { family: 'ipv6', devices: [] },
] as const

/** Where no table can be made there is none. */
function ignoreWithoutNftables(error: unknown): void {
  if (!(error instanceof CommandError)) throw error
}
