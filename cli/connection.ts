/** Where the gateway is, whom to trust and with which token: from flags, else the environment, else a `claw up` in this directory. */
import { readCaFile } from '../host/ca-file.ts'
import { GatewayConnection } from '../host/gateway-connection.ts'
import { type GatewayUrl, parseGatewayUrl } from '../host/gateway-url.ts'
import type { OptionSpecs } from '../host/options.ts'
import { readPrivateFile } from '../host/private-file.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { AdminClient } from './admin-client.ts'
import { DEFAULT_DIRECTORY, readRunFile } from './run-file.ts'

export const connectionOptions = {
  gateway: {
    type: 'string',
    value: 'URL',
    help: 'https://HOST[:PORT], else CLAW_GATEWAY, else the `claw up` of this directory',
  },
  ca: { type: 'string', value: 'FILE', help: 'the only CA to trust, in PEM, else CLAW_CA' },
  'token-file': { type: 'string', value: 'FILE', help: 'file with the admin token, else CLAW_TOKEN_FILE' },
} as const satisfies OptionSpecs

export interface ConnectionOptions {
  readonly gateway: string | undefined
  readonly ca: string | undefined
  readonly 'token-file': string | undefined
}

interface Place {
  readonly url: GatewayUrl
  readonly ca: string | undefined
  readonly tokenFile: string
}

/** Runs `use` with a client and closes its connections afterwards, so that the program can end. */
export async function withGateway<T>(
  options: ConnectionOptions,
  use: (client: AdminClient) => Promise<T>,
): Promise<T> {
  const { url, ca, tokenFile } = findGateway(options, process.env)
  const connection = new GatewayConnection({ url, ca: ca === undefined ? undefined : readCaFile(ca) })
  try {
    return await use(new AdminClient(connection, readToken(tokenFile)))
  } finally {
    connection.close()
  }
}

/** The CA of a local gateway goes with its address only: another gateway is not judged by it. */
function findGateway(options: ConnectionOptions, env: NodeJS.ProcessEnv): Place {
  const gateway = options.gateway ?? env['CLAW_GATEWAY']
  const ca = options.ca ?? env['CLAW_CA']
  const tokenFile = options['token-file'] ?? env['CLAW_TOKEN_FILE']
  if (gateway !== undefined)
    return { url: parseGatewayUrl(gateway), ca, tokenFile: tokenFile ?? missingToken() }

  const local = readRunFile(DEFAULT_DIRECTORY)
  if (local?.url === undefined) throw noGateway()
  return { url: parseGatewayUrl(local.url), ca: ca ?? local.ca, tokenFile: tokenFile ?? local.adminTokenFile }
}

function readToken(path: string): string {
  const bytes = readPrivateFile(path)
  const token = bytes && Buffer.from(bytes).toString('utf8').trim()
  if (token !== undefined && /^[\x21-\x7e]+$/.test(token)) return token
  throw new UserError({
    code: 'E_TOKEN_FILE',
    message: `${path} holds no admin token`,
    why: bytes === undefined ? 'there is no such file' : undefined,
    fix: 'copy admin.token from the directory of `claw up`, readable by you alone',
    exitCode: EXIT.auth,
  })
}

function missingToken(): never {
  throw new UserError({
    code: 'E_TOKEN_FILE',
    message: 'no admin token is given',
    fix: 'name its file with --token-file FILE or CLAW_TOKEN_FILE',
    exitCode: EXIT.auth,
  })
}

const noGateway = (): UserError =>
  new UserError({
    code: 'E_NO_GATEWAY',
    message: 'no gateway is given, and none runs from this directory',
    fix: 'name one with --gateway URL or CLAW_GATEWAY, or start one with `claw up`',
    exitCode: EXIT.usage,
  })
