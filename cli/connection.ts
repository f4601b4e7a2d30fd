/**
 * Where the gateway is, whom to trust and with which token: from flags, else the environment, else a `claw up` in this directory. All of it
 * is checked before a socket opens, and whatever is wrong is told at once (R8).
 */
import { readCaFile } from '../host/ca-file.ts'
import { ConfigProblems } from '../host/config-problems.ts'
import { GatewayConnection } from '../host/gateway-connection.ts'
import { type GatewayUrl, parseGatewayUrl } from '../host/gateway-url.ts'
import type { OptionSpecs } from '../host/options.ts'
import { type Pin, parsePin } from '../host/pins.ts'
import { readPrivateFile } from '../host/private-file.ts'
import { checkPinnedUrl, requireTls } from '../host/require-tls.ts'
import { readSettings, type Setting, type SettingSpecs } from '../host/settings.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { AdminClient } from './admin-client.ts'
import { AGE_IDENTITY_VARIABLE, OWN_DIRECTORY_VARIABLE } from './own-directory.ts'
import { DEFAULT_DIRECTORY, findRunningGateway } from './run-file.ts'

export const connectionOptions = {
  gateway: {
    type: 'string',
    value: 'URL',
    help: 'https://HOST[:PORT], else CLAW_GATEWAY, else the `claw up` of this directory',
  },
  ca: { type: 'string', value: 'FILE', help: 'the only CA to trust, in PEM, else CLAW_CA' },
  fingerprint: {
    type: 'string',
    multiple: true,
    value: 'SHA256',
    help: 'only this public key, of the gateway or its CA, will do, else CLAW_FINGERPRINT',
  },
  'token-file': {
    type: 'string',
    value: 'FILE',
    help: 'file with your API key or the admin token, else CLAW_TOKEN_FILE',
  },
} as const satisfies OptionSpecs

export interface ConnectionOptions {
  readonly gateway?: string | undefined
  readonly ca?: string | undefined
  readonly fingerprint?: readonly string[] | undefined
  readonly 'token-file'?: string | undefined
}

const SETTINGS = {
  gateway: { kind: 'text', env: ['CLAW_GATEWAY'], flag: '--gateway' },
  ca: { kind: 'text', env: ['CLAW_CA'], flag: '--ca' },
  fingerprint: { kind: 'list', env: ['CLAW_FINGERPRINT'], flag: '--fingerprint' },
  token_file: { kind: 'text', env: ['CLAW_TOKEN_FILE'], flag: '--token-file' },
  require_tls: { kind: 'boolean', env: ['CLAW_REQUIRE_TLS'] },
} as const satisfies SettingSpecs

const RUN_FILE = `${DEFAULT_DIRECTORY}/run.json`

interface Place {
  readonly url: GatewayUrl
  /** PEM. */
  readonly ca: string | undefined
  readonly pins: readonly Pin[]
  readonly token: string
}

/** Runs `use` with a client and closes its connections afterwards, so that the program can end. */
export async function withGateway<T>(
  options: ConnectionOptions,
  use: (client: AdminClient) => Promise<T>,
): Promise<T> {
  const { token, ...place } = findGateway(options, process.env)
  const connection = new GatewayConnection(place)
  try {
    return await use(new AdminClient(connection, token))
  } finally {
    connection.close()
  }
}

/**
 * All of it comes from the file of a local gateway, or none: its CA judges no other gateway, and a token or a CA that was named for another
 * gateway is not for one that a directory happens to name.
 */
function findGateway(options: ConnectionOptions, env: NodeJS.ProcessEnv): Place {
  const problems = new ConfigProblems()
  const { 'token-file': token_file, ...others } = options
  const { gateway, ca, fingerprint, require_tls, ...settings } = readSettings(
    SETTINGS,
    {
      env,
      prefix: 'CLAW_',
      otherVariables: ['CLAW_DEBUG', OWN_DIRECTORY_VARIABLE, AGE_IDENTITY_VARIABLE],
      flags: { ...others, token_file },
    },
    problems,
  )
  const check = <V, R>(name: string, setting: Setting<V> | undefined, parse: (value: V) => R) =>
    setting && problems.attempt({ setting: name, source: setting.source }, () => parse(setting.value))

  check('require_tls', require_tls, requireTls)
  const alone = ca ?? fingerprint ?? settings.token_file
  const local =
    (gateway ?? alone) === undefined
      ? problems.attempt({ setting: 'gateway', source: RUN_FILE }, localGateway)
      : undefined
  const url = check('gateway', gateway ?? local?.url, parseGatewayUrl)
  const pem = check('ca', ca ?? local?.ca, readCaFile)
  const pins = fingerprint?.value.flatMap(
    (pin) => check('fingerprint', fingerprint, () => parsePin(pin)) ?? [],
  )
  check('ca', gateway && ca, () => checkPinnedUrl(gateway?.value))
  check('fingerprint', gateway && fingerprint, () => checkPinnedUrl(gateway?.value))
  const token = check('token_file', settings.token_file ?? local?.tokenFile, readToken)
  problems.throwIfAny()
  if (url === undefined) throw noGateway(alone?.source)
  if (token === undefined) throw missingToken()
  return { url, ca: pem, pins: pins ?? [], token }
}

function localGateway() {
  const found = findRunningGateway(DEFAULT_DIRECTORY)
  if (found === undefined) return undefined
  const { url, ca, adminTokenFile } = found
  return {
    url: { value: url, source: RUN_FILE },
    ca: { value: ca, source: RUN_FILE },
    tokenFile: { value: adminTokenFile, source: RUN_FILE },
  }
}

function readToken(path: string): string {
  const bytes = readPrivateFile(path)
  const token = bytes && Buffer.from(bytes).toString('utf8').trim()
  if (token !== undefined && /^[\x21-\x7e]+$/.test(token)) return token
  throw new UserError({
    code: 'E_TOKEN_FILE',
    message: `${path} holds no API token`,
    why: bytes === undefined ? 'there is no such file' : undefined,
    fix: 'put an API key into it (`claw api-key create NAME --role ROLE --file FILE`), readable by you alone',
    exitCode: EXIT.auth,
  })
}

const missingToken = (): UserError =>
  new UserError({
    code: 'E_TOKEN_FILE',
    message: 'no API token is given',
    fix: 'name the file of your API key or the admin token with --token-file FILE or CLAW_TOKEN_FILE',
    exitCode: EXIT.auth,
  })

/** @param source of what was named without it. */
const noGateway = (source: string | undefined): UserError =>
  new UserError({
    code: 'E_NO_GATEWAY',
    message:
      source === undefined
        ? 'no gateway is given, and none runs from this directory'
        : `${source} is given without a gateway`,
    why:
      source &&
      'a CA, a fingerprint or a token is for the gateway named with it, not for one found in this directory',
    fix: 'name one with --gateway URL or CLAW_GATEWAY, or start one with `claw up`',
    exitCode: EXIT.usage,
  })
