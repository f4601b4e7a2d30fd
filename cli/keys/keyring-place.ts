/** Where the master keys of a gateway are kept: beside a `claw up` of this machine, which reads them again, or in its owner's own copy. */
import { join, resolve } from 'node:path'
import { readPrivateFile } from '../../host/private-file.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { KeyringReply } from '../../protocol/secrets.ts'
import type { AdminClient } from '../admin-client.ts'
import { type ConnectionOptions, withGateway } from '../connection.ts'
import { findRunningGateway } from '../run-file.ts'
import { type KeyVersions, versionsOf } from '../up/keyring-file.ts'
import { reloadRunningGateway } from '../up/reload.ts'

export interface KeyringPlace {
  readonly directory: string
  readonly path: string
  /** Has the gateway take what the file holds now; told how to do it, where that is not in our hands. */
  handOver(isTaken: (keyring: KeyringReply) => boolean): Promise<'taken' | 'by-hand'>
}

interface PlaceOptions extends ConnectionOptions {
  readonly dir: string
}

/** With the gateway of that directory if it runs and no other one is named. */
export function withKeyring<T>(
  options: PlaceOptions,
  use: (client: AdminClient, place: KeyringPlace) => Promise<T>,
): Promise<T> {
  const directory = resolve(options.dir)
  const running = findRunningGateway(directory)
  const named = options.gateway ?? process.env['CLAW_GATEWAY']
  const connection =
    running === undefined || named !== undefined
      ? options
      : { ...options, gateway: running.url, ca: running.ca, 'token-file': running.adminTokenFile }
  return withGateway(connection, (client) =>
    use(client, {
      directory,
      path: join(directory, 'keyring.json'),
      handOver: async (isTaken) => {
        if (running === undefined || !isSameGateway(client.origin, running.url)) return 'by-hand'
        const taken = await reloadRunningGateway(directory, async () => isTaken(await client.keyring()))
        return taken ? 'taken' : 'by-hand'
      },
    }),
  )
}

/** @throws UserError unless the file is the keyring that the gateway runs with. */
export function checkSameKeyring({ path }: KeyringPlace, { active, versions }: KeyringReply): void {
  const bytes = readPrivateFile(path)
  if (bytes === undefined) throw noCopy(path)
  const ours = versionsOf(Buffer.from(bytes).toString('utf8'))
  if (ours === undefined) throw notAKeyring(path)
  if (!isSame(ours, { active, versions })) throw otherKeyring(path, ours, { active, versions })
}

/** A gateway of this machine goes by several names. */
function isSameGateway(one: string, other: string): boolean {
  const [a, b] = [new URL(one), new URL(other)]
  if (a.port !== b.port) return false
  return a.hostname === b.hostname || (LOOPBACK.includes(a.hostname) && LOOPBACK.includes(b.hostname))
}

const LOOPBACK = ['localhost', '127.0.0.1', '[::1]']

const isSame = (a: KeyVersions, b: KeyVersions): boolean =>
  a.active === b.active && [...a.versions].sort().join() === [...b.versions].sort().join()

const noCopy = (path: string): UserError =>
  new UserError({
    code: 'E_NO_KEYRING',
    message: `${path} is not there`,
    why: 'the keyring of a gateway on Cloudflare cannot be read back: your own copy of it is changed, and handed over anew',
    fix: 'put your copy of keyring.json there, or name its directory with --dir',
    exitCode: EXIT.notFound,
  })

const notAKeyring = (path: string): UserError =>
  new UserError({
    code: 'E_STATE_DAMAGED',
    message: `${path} is not a keyring`,
    fix: 'bring it back from a copy',
    exitCode: EXIT.badConfig,
  })

function otherKeyring(path: string, ours: KeyVersions, theirs: KeyVersions): UserError {
  const text = ({ active, versions }: KeyVersions) =>
    `versions ${versions.join(', ')}, of which ${active} is active`
  return new UserError({
    code: 'E_KEYRING_DIFFERS',
    message: `${path} is not the keyring that the gateway runs with`,
    why: `the file has ${text(ours)}; the gateway has ${text(theirs)}`,
    fix: 'hand the file over first if it is the newer one; else bring the right copy',
    exitCode: EXIT.conflict,
  })
}
