/** `claw up`: everything a gateway needs, made where it is missing, and the gateway itself until a signal ends it. */
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync } from 'node:fs'
import { createServer, isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { usageError } from '../../host/options.ts'
import { spkiSha256 } from '../../host/pins.ts'
import { ensurePrivateDirectory } from '../../host/private-file.ts'
import { UserError } from '../../host/user-error.ts'
import { DirectoryClaim } from '../run-file.ts'
import { type EmbeddedGateway, startGateway } from './embedded-gateway.ts'
import { keepKeyFiles } from './key-files.ts'
import { isServerName, originOf, serverNames } from './server-names.ts'
import { keepTlsFiles } from './tls-files.ts'

export interface UpOptions {
  readonly dir: string
  readonly host: string
  readonly port: number
  readonly names: readonly string[]
  /** Another Worker than the project's, for tests. */
  readonly entry?: string
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

export async function up(options: UpOptions): Promise<Ready & EmbeddedGateway> {
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

async function serve(
  directory: string,
  options: UpOptions,
  claim: DirectoryClaim,
): Promise<Ready & EmbeddedGateway> {
  const stateDirectory = join(directory, 'state')
  const fresh = !existsSync(stateDirectory)
  const names = serverNames(options)
  const port = options.port === 0 ? await freePort(options.host) : options.port
  const origins = names.map((name) => originOf(name, port))

  const keys = keepKeyFiles(directory, { fresh })
  const tls = await keepTlsFiles(directory, names, { fresh })
  // Last of all: from here on a missing key is a lost one, not one that is still to be made.
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 })

  const gateway = await startGateway({
    host: options.host,
    port,
    tls,
    bindings: {
      ...keys.bindings,
      EDGE: 'embedded',
      GATEWAY_ORIGINS: origins.join(' '),
      GATEWAY_CA: tls.ca.toString(),
      GATEWAY_TLS_SPKI: spkiSha256(new X509Certificate(tls.chain), 'base64url'),
    },
    stateDirectory,
    log: (line) => process.stderr.write(`${line}\n`),
    onWorkerd: (workerd) => claim.note({ workerd }),
    ...(options.entry !== undefined && { entry: options.entry }),
  })
  const url = origins[0] ?? originOf('localhost', port)
  claim.note({ url })
  return {
    url,
    ca: tls.caPath,
    fingerprint: spkiSha256(tls.ca),
    adminTokenFile: keys.adminTokenPath,
    pid: process.pid,
    async stop() {
      await gateway.stop()
      claim.release()
    },
  }
}

/** All that is wrong with the flags, at once, before anything is touched (R8). */
function checkOptions({ host, port, names }: UpOptions): void {
  const problems = []
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    problems.push('--port is a number from 0 to 65535')
  if (isIP(host) === 0 && host !== 'localhost')
    problems.push('--host is an IP address of this machine, or localhost')
  for (const name of names) {
    if (!isServerName(name))
      problems.push(`--name ${JSON.stringify(name)} is neither a DNS name nor an IP address`)
  }
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
