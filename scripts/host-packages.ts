/**
 * What the tests need of the host beside Node: installed here where that is ours to do (root on Debian), else named in one line. Tests
 * that need a missing one skip by name.
 */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run } from './run.ts'

/** Command → Debian package. */
const NEEDED: Readonly<Record<string, string>> = {
  'wireguard-go': 'wireguard-go',
  wg: 'wireguard-tools',
  nft: 'nftables',
  ip: 'iproute2',
  ping: 'iputils-ping',
  curl: 'curl',
  openssl: 'openssl',
  age: 'age',
  'age-keygen': 'age',
}

export function ensureHostPackages(): void {
  const missing = Object.entries(NEEDED).filter(([command]) => !isOnPath(command))
  if (missing.length === 0) return
  const packages = missing.map(([, name]) => name)
  if (process.getuid?.() === 0 && isOnPath('apt-get')) {
    const env = { DEBIAN_FRONTEND: 'noninteractive' }
    run('apt-get', ['update', '-qq'], env)
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], env)
    return
  }
  process.stderr.write(`some tests will be skipped: install ${packages.join(', ')} and run as root\n`)
}

const isOnPath = (command: string): boolean =>
  [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) =>
    existsSync(join(folder, command)),
  )
