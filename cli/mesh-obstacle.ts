/** What keeps this machine out of the mesh, if anything does: a fleet works without, only its private network does not. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const TOOLS = ['ip', 'wg']
const CAP_NET_ADMIN = 12n

/** In words; undefined if nothing does. Asked before `clawnode run`, so that a machine without the means starts without an error. */
export function meshObstacle(): string | undefined {
  if (!mayConfigureNetwork()) return 'it may not configure the network (root, or CAP_NET_ADMIN)'
  const missing = TOOLS.find((tool) => !isInstalled(tool))
  if (missing !== undefined) return `\`${missing}\` is not installed`
  if (existsSync('/sys/module/wireguard')) return undefined
  if (!isInstalled('wireguard-go')) return 'neither the kernel nor `wireguard-go` offers WireGuard'
  return existsSync('/dev/net/tun') ? undefined : 'there is no /dev/net/tun'
}

function mayConfigureNetwork(): boolean {
  try {
    const [, mask] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
    return mask !== undefined && ((BigInt(`0x${mask}`) >> CAP_NET_ADMIN) & 1n) === 1n
  } catch {
    return false
  }
}

const isInstalled = (tool: string): boolean =>
  (process.env['PATH'] ?? '').split(delimiter).some((directory) => isExecutable(join(directory, tool)))

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
