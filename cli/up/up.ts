/** `claw up`: everything a gateway needs, made where it is missing, and the gateway itself until a signal ends it. */
import { once } from 'node:events'
import { existsSync, mkdirSync } from 'node:fs'
import { createServer, isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { usageError } from '../../host/options.ts'
import { spkiSha256 } from '../../host/pins.ts'
import { ensurePrivateDirectory } from '../../host/private-file.ts'
import { UserError } from '../../host/user-error.ts'
import { StunServers } from '../../protocol/stun-servers.ts'
import { DirectoryClaim } from '../run-file.ts'
import { startGateway } from './embedded-gateway.ts'
import { gatewayOptions, keepGatewayFiles, rereadGatewayFiles } from './gateway-files.ts'
import { versionsOf } from './keyring-file.ts'
import { isServerName, originOf, serverNames } from './server-names.ts'

export interface UpOptions {
  readonly dir: string
  readonly host: string
  readonly port: number
  readonly names: readonly string[]
  /** STUN servers that nodes are told of, `host:port`. */
  readonly stun: readonly string[]
  /** Relays that nodes are told of, as RELAYS in wrangler.toml. */
  readonly relays: string
}

/** What `--json` prints when it serves. */
export interface Ready {
  readonly url: string
  readonly ca: string
  /** SHA-256 of the CA's public key: a pin that outlives the server's certificate. */
  readonly fingerprint: string
  readonly adminTokenFile: string
  readonly pid: number
}

export interface RunningGateway {
  readonly ready: Ready
  /** Takes what the files of the directory hold by now, or says why not and goes on with what it has. */
  reload(): Promise<void>
  stop(): Promise<void>
}

export async function up(options: UpOptions): Promise<RunningGateway> {
  checkOptions(options)
  const directory = resolve(options.dir)
  ensurePrivateDirectory(directory)
  const claim = await DirectoryClaim.take(directory)
  try {
    return await serve(directory, options, claim)
  } catch (error) {
    claim.release()
    throw error
  }
}

async function serve(directory: string, options: UpOptions, claim: DirectoryClaim): Promise<RunningGateway> {
  const stateDirectory = join(directory, 'state')
  const fresh = !existsSync(stateDirectory)
  const names = serverNames(options)
  const port = options.port === 0 ? await freePort(options.host) : options.port
  const origins = names.map((name) => originOf(name, port))
  const { stun, relays } = options
  const place = { directory, names, origins, stun, relays }

  let files = await keepGatewayFiles(place, { fresh })
  // Last of all: from here on a missing key is a lost one, not one that is still to be made.
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 })

  const gateway = await startGateway({
    ...gatewayOptions(files, place),
    host: options.host,
    port,
    stateDirectory,
    log,
    onWorkerd: (workerd) => claim.note({ workerd }),
  })
  const url = origins[0] ?? originOf('localhost', port)
  claim.note({ url })

  const takeFiles = async (): Promise<string> => {
    const found = await rereadGatewayFiles(place, files)
    const next = gatewayOptions(found, place)
    if (isDeepStrictEqual(next, gatewayOptions(files, place))) return 'reload: the files hold nothing new'
    await gateway.reload(next)
    files = found
    const keyring = versionsOf(found.keys.bindings.MASTER_KEYRING)
    return `reload: the files are in force; master key version ${keyring?.active} of ${keyring?.versions.join(', ')}`
  }
  let reloads = 0
  return {
    ready: {
      url,
      ca: files.tls.caPath,
      fingerprint: spkiSha256(files.tls.ca),
      adminTokenFile: files.keys.adminTokenPath,
      pid: process.pid,
    },
    async reload() {
      reloads++
      try {
        log(await takeFiles())
        claim.note({ reload: { count: reloads } })
      } catch (error) {
        if (!(error instanceof UserError)) throw error
        const why = error.why === undefined ? error.message : `${error.message}: ${error.why}`
        log(`error: reload refused, everything stays as it was: ${why}`)
        claim.note({ reload: { count: reloads, refused: why } })
      }
    },
    async stop() {
      await gateway.stop()
      claim.release()
    },
  }
}

const log = (line: string): void => void process.stderr.write(`${line}\n`)

/** All that is wrong with the flags, at once, before anything is touched (R8). */
function checkOptions({ host, port, names, stun, relays }: UpOptions): void {
  const problems = []
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    problems.push('--port is a number from 0 to 65535')
  if (isIP(host) === 0 && host !== 'localhost')
    problems.push('--host is an IP address of this machine, or localhost')
  for (const relay of relays.split(/\s+/).filter(Boolean)) {
    if (!/^(?:self|wss:\/\/[^\s/]+)$/.test(relay))
      problems.push(`--relays ${JSON.stringify(relay)} is neither self nor wss://HOST[:PORT]`)
  }
  for (const name of names) {
    if (!isServerName(name))
      problems.push(`--name ${JSON.stringify(name)} is neither a DNS name nor an IP address`)
  }
  const servers = StunServers.safeParse(stun)
  if (!servers.success) problems.push(`--stun: ${servers.error.issues[0]?.message}`)
  if (problems.length > 0) throw usageError(problems.join('; '), 'claw up --help')
}

/** Chosen before the start, because the gateway has to know its own origins. */
async function freePort(host: string): Promise<number> {
  const server = createServer().listen(0, host)
  try {
    await once(server, 'listening')
  } catch {
    throw new UserError({ code: 'E_HOST', message: `this machine cannot listen on ${host}` })
  }
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}
