/** What this machine must offer before an interface can be made, and what to say if it does not. */
import { existsSync, readFileSync } from 'node:fs'
import { EXIT, UserError } from '../../host/user-error.ts'
import { CommandError, type Commands } from './exec.ts'

const CAP_NET_ADMIN = 12n

export interface Privileges {
  /** May configure the network: root outside a container has it, root inside one often not. */
  readonly netAdmin: boolean
  readonly tun: boolean
}

export function systemPrivileges(): Privileges {
  return { netAdmin: hasNetAdmin(), tun: existsSync('/dev/net/tun') }
}

function hasNetAdmin(): boolean {
  try {
    const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    return mask !== undefined && ((BigInt(`0x${mask}`) >> CAP_NET_ADMIN) & 1n) === 1n
  } catch {
    return false
  }
}

/** @throws UserError that names everything that is missing. */
export async function requireTools(commands: Commands, { netAdmin }: Privileges): Promise<void> {
  const missing = [
    ...(netAdmin ? [] : ['the right to configure the network (root, or CAP_NET_ADMIN)']),
    ...((await isInstalled(commands, 'wg', '--version')) ? [] : ['`wg` (package wireguard-tools)']),
    ...((await isInstalled(commands, 'ip', '-V')) ? [] : ['`ip` (package iproute2)']),
  ]
  if (missing.length > 0) throw meshUnavailable(missing)
}

export async function requireUserspace(commands: Commands, { tun }: Privileges): Promise<void> {
  const missing = [
    ...(tun ? [] : ['/dev/net/tun (in a container: --device /dev/net/tun --cap-add NET_ADMIN)']),
    ...((await isInstalled(commands, 'wireguard-go', '--version')) ? [] : ['`wireguard-go`']),
  ]
  if (missing.length > 0) throw meshUnavailable(missing)
}

/** Not whether it works: a program that is there and fails has its own error to tell. */
async function isInstalled(commands: Commands, program: string, harmless: string): Promise<boolean> {
  try {
    await commands.run(program, [harmless])
    return true
  } catch (error) {
    return !(error instanceof CommandError && error.failure === 'missing')
  }
}

const meshUnavailable = (missing: readonly string[]): UserError =>
  new UserError({
    code: 'E_MESH_UNAVAILABLE',
    message: 'this machine cannot make a WireGuard interface',
    why: `missing: ${missing.join('; ')}`,
    fix: 'provide what is missing, or run with --no-mesh',
    exitCode: EXIT.badConfig,
  })
