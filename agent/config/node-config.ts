/**
 * The configuration a command of `clawnode` works by: file, environment and flags put together and checked in one pass, before the first
 * byte is sent or written (R8). Whatever is wrong is told at once.
 */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { readCaFile } from '../../host/ca-file.ts'
import { ConfigProblems } from '../../host/config-problems.ts'
import { parseDuration } from '../../host/duration.ts'
import { type GatewayUrl, parseGatewayUrl } from '../../host/gateway-url.ts'
import { type Pin, parsePin } from '../../host/pins.ts'
import { checkPrivateDirectory, checkPrivateFile } from '../../host/private-file.ts'
import { checkPinnedUrl, requireTls } from '../../host/require-tls.ts'
import { readSettings, type Setting, type Settings } from '../../host/settings.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { type Cidr, Endpoint, NodeName } from '../../protocol/ids.ts'
import { StunServers } from '../../protocol/stun-servers.ts'
import { GENERATION_FILE } from '../generation.ts'
import { socketPath } from '../local-status.ts'
import { LEVELS, type Level } from '../log.ts'
import { KEY_FILES } from '../node-keys.ts'
import { findNodeState, STATE_FILE } from '../node-state.ts'
import { defaultStateDirectory } from '../state-directory.ts'
import { type ConfigFile, readConfigFile } from './config-file.ts'
import { NAMES_MODES, type NamesMode } from './names-mode.ts'
import { parseRoutes } from './offered-routes.ts'
import { PSK_MODES, type PskMode } from './psk-mode.ts'
import { CONFIG_VARIABLE, NODE_SETTINGS, PREFIX, type SettingName } from './settings.ts'

export interface NodeConfig {
  readonly directory: string
  readonly gatewayUrl: GatewayUrl | undefined
  /** PEM. */
  readonly ca: string | undefined
  readonly pins: readonly Pin[] | undefined
  readonly name: NodeName | undefined
  readonly mesh: boolean
  readonly interface: string
  readonly listenPort: number
  /** Where this node can be reached by what only its owner knows, such as a forwarded port. */
  readonly publicEndpoint: Endpoint | undefined
  /** STUN servers, `host:port`, instead of those that the gateway names. */
  readonly stun: readonly string[]
  /** wireguard-go even where the kernel has WireGuard. */
  readonly userspace: boolean
  /** How the mesh's names are served on this machine. */
  readonly names: NamesMode
  /** Networks behind this node that it offers to the fleet. */
  readonly routes: readonly Cidr[]
  /** Whether what comes through the mesh into them gets this machine's address there. */
  readonly routesMasquerade: boolean
  readonly secretsCache: {
    /** False if it is refused, for the node or for this one command. */
    readonly isUsed: boolean
    /** False if the node is to have none: what there is goes. */
    readonly isKept: boolean
    readonly maxAgeMs: number
  }
  /** How old a WireGuard key may get; undefined if it changes on command only. */
  readonly wireguardRotationMs: number | undefined
  /** Whether pairs of nodes share a key beside WireGuard's own. */
  readonly psk: PskMode
  readonly logLevel: Level
}

export interface ConfigFlags {
  readonly config: string | undefined
  readonly settings: { readonly [K in SettingName]?: string | boolean | readonly string[] | undefined }
}

export interface EffectiveConfig {
  /** Undefined where a problem left none. */
  readonly config: NodeConfig | undefined
  readonly file: ConfigFile | undefined
  readonly settings: Settings<typeof NODE_SETTINGS>
  readonly problems: ConfigProblems
}

/** @throws UserError that names everything that is wrong. */
export function loadNodeConfig(flags: ConfigFlags, options: { readonly joining?: true } = {}): NodeConfig {
  const { config, problems } = readNodeConfig(flags, options)
  problems.throwIfAny()
  if (config === undefined) throw new Error('a configuration without problems is incomplete')
  return config
}

/** @param options.joining leaves it to `join` to compare the gateway with an earlier one. */
export function readNodeConfig(
  flags: ConfigFlags,
  options: { readonly joining?: true } = {},
  env: NodeJS.ProcessEnv = process.env,
): EffectiveConfig {
  const problems = new ConfigProblems()
  const file = readConfigFile(flags.config, env, problems)
  const settings = readSettings(
    NODE_SETTINGS,
    { file, env, prefix: PREFIX, otherVariables: [CONFIG_VARIABLE], flags: flags.settings },
    problems,
  )
  const found = problems.found.length
  const config = validate(settings, env, problems, options.joining === true)
  return { config: problems.found.length === found ? config : undefined, file, settings, problems }
}

function validate(
  settings: Settings<typeof NODE_SETTINGS>,
  env: NodeJS.ProcessEnv,
  problems: ConfigProblems,
  joining: boolean,
): NodeConfig {
  const check = <T, R>(name: SettingName, setting: Setting<T> | undefined, parse: (value: T) => R) =>
    setting && problems.attempt({ setting: name, source: setting.source }, () => parse(setting.value))

  const { require_tls, gateway_ca_cert, gateway_cert_fingerprint } = settings
  check('require_tls', require_tls, requireTls)
  const gatewayUrl = check('gateway_url', settings.gateway_url, parseGatewayUrl)
  const ca = check('gateway_ca_cert', gateway_ca_cert, readCaFile)
  const pins = gateway_cert_fingerprint?.value.flatMap(
    (pin) => check('gateway_cert_fingerprint', gateway_cert_fingerprint, () => parsePin(pin)) ?? [],
  )
  const url = settings.gateway_url?.value
  check('gateway_ca_cert', gateway_ca_cert, () => checkPinnedUrl(url))
  check('gateway_cert_fingerprint', gateway_cert_fingerprint, () => checkPinnedUrl(url))

  const { dir = { value: stateDirectory(env), source: 'default' } } = settings
  const directory = resolve(dir.value)
  check('dir', dir, () => checkStateDirectory(directory))
  for (const name of [...KEY_FILES, STATE_FILE, GENERATION_FILE])
    check('dir', dir, () => checkPrivateFile(join(directory, name)))
  if (!joining && gatewayUrl !== undefined)
    check('gateway_url', settings.gateway_url, () => checkSameGateway(directory, gatewayUrl))

  return {
    directory,
    gatewayUrl,
    ca,
    pins,
    name: check('name', settings.name, parseName),
    mesh: settings.mesh?.value ?? DEFAULTS.mesh,
    interface: check('interface', settings.interface, parseInterface) ?? DEFAULTS.interface,
    listenPort: check('listen_port', settings.listen_port, parsePort) ?? DEFAULTS.listen_port,
    publicEndpoint: check('public_endpoint', settings.public_endpoint, parseEndpoint),
    stun: check('stun', settings.stun, parseStun) ?? [],
    userspace: settings.userspace?.value ?? DEFAULTS.userspace,
    names: check('names', settings.names, parseNamesMode) ?? DEFAULTS.names,
    routes: check('routes', settings.routes, (list) => parseRoutes(list, rangesIn(directory))) ?? [],
    routesMasquerade: settings.routes_masquerade?.value ?? DEFAULTS.routes_masquerade,
    secretsCache: {
      isUsed: settings.secrets_cache?.value ?? DEFAULTS.secrets_cache,
      isKept: settings.secrets_cache?.value !== false || settings.secrets_cache.source === NO_CACHE_FLAG,
      maxAgeMs:
        check('secrets_cache_max_age', settings.secrets_cache_max_age, parseMaxAge) ??
        parseMaxAge(DEFAULTS.secrets_cache_max_age),
    },
    wireguardRotationMs: parseRotation(
      check('wireguard_rotation', settings.wireguard_rotation, checkRotation) ?? DEFAULTS.wireguard_rotation,
    ),
    psk: check('psk', settings.psk, parsePskMode) ?? DEFAULTS.psk,
    logLevel: check('log_level', settings.log_level, parseLevel) ?? DEFAULTS.log_level,
  }
}

export const DEFAULTS = {
  require_tls: true,
  mesh: true,
  interface: 'claw0',
  listen_port: 51820,
  userspace: false,
  names: 'auto',
  routes_masquerade: true,
  secrets_cache: true,
  secrets_cache_max_age: '24h',
  wireguard_rotation: '30d',
  psk: 'off',
  log_level: 'info',
} as const

export const stateDirectory = (env: NodeJS.ProcessEnv): string =>
  defaultStateDirectory({ env, home: homedir(), uid: process.getuid?.() })

function checkStateDirectory(directory: string): void {
  socketPath(directory)
  checkPrivateDirectory(directory)
}

/** A node and its keys belong to the gateway it has joined; another one needs another directory. */
function checkSameGateway(directory: string, url: GatewayUrl): void {
  const joined = stateIn(directory)
  if (joined === undefined || joined.gateway.url === url.origin) return
  throw invalid(
    'E_ALREADY_JOINED',
    `this node has joined ${joined.gateway.url}, not ${url.origin}`,
    'name that one, or give the other one another dir',
  )
}

/** None before the node has joined. */
function rangesIn(directory: string): readonly string[] {
  const joined = stateIn(directory)
  return joined === undefined ? [] : [joined.node.ipv4Range, joined.node.ipv6Range]
}

/** A damaged state is the command's own to report. */
function stateIn(directory: string) {
  try {
    return findNodeState(directory)
  } catch (error) {
    if (error instanceof UserError) return undefined
    throw error
  }
}

function parseName(text: string): NodeName {
  const name = NodeName.safeParse(text)
  if (name.success) return name.data
  throw invalid('E_NAME_INVALID', name.error.issues[0]?.message ?? 'not a name')
}

/** Linux's own limit on names, and nothing that another program could read as a flag. */
function parseInterface(text: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/.test(text)) return text
  throw invalid('E_INTERFACE_INVALID', 'it is 1 to 15 letters, digits and _ . -')
}

function parsePort(port: number): number {
  if (port >= 1 && port <= 65_535) return port
  throw invalid('E_PORT_INVALID', 'it is a number from 1 to 65535')
}

function parseEndpoint(text: string): Endpoint {
  const endpoint = Endpoint.safeParse(text)
  if (endpoint.success) return endpoint.data
  throw invalid('E_ENDPOINT_INVALID', endpoint.error.issues[0]?.message ?? 'not an endpoint')
}

function parseStun(servers: readonly string[]): readonly string[] {
  const parsed = StunServers.safeParse(servers)
  if (parsed.success) return parsed.data
  throw invalid('E_STUN_INVALID', parsed.error.issues[0]?.message ?? 'not STUN servers')
}

/** Bounded, because a value that is good for ever is one that no denial ends while the gateway is kept away. */
const LONGEST_CACHE_AGE_MS = 30 * 24 * 60 * 60_000
const NO_CACHE_FLAG = NODE_SETTINGS.secrets_cache.flag

function parseMaxAge(text: string): number {
  const age = /^[0-9]{1,9}[smhd]$/.test(text) ? parseDuration(text) : 0
  if (age > 0 && age <= LONGEST_CACHE_AGE_MS) return age
  throw invalid('E_CACHE_AGE_INVALID', 'it is a time like 90m, 24h or 7d, at most 30d')
}

/** Each change costs a row, two entries of the trail and a word to every peer. */
const SHORTEST_ROTATION_MS = 60 * 60_000
const LONGEST_ROTATION_MS = 365 * 24 * 60 * 60_000

const parseRotation = (text: string): number | undefined =>
  text === '0' || text === 'off' ? undefined : parseDuration(text)

function checkRotation(text: string): string {
  const every = text === '0' || text === 'off' || /^[0-9]{1,9}[smhd]$/.test(text) ? parseRotation(text) : 0
  if (every === undefined || (every >= SHORTEST_ROTATION_MS && every <= LONGEST_ROTATION_MS)) return text
  throw invalid('E_ROTATION_INVALID', 'it is a time like 12h or 30d, from 1h to 365d, or `off`')
}

function parseLevel(text: string): Level {
  const level = LEVELS.find((candidate) => candidate === text)
  if (level !== undefined) return level
  throw invalid('E_LOG_LEVEL_INVALID', `it is one of ${LEVELS.join(', ')}`)
}

function parseNamesMode(text: string): NamesMode {
  const mode = NAMES_MODES.find((candidate) => candidate === text)
  if (mode !== undefined) return mode
  throw invalid('E_NAMES_INVALID', `it is one of ${NAMES_MODES.join(', ')}`)
}

function parsePskMode(text: string): PskMode {
  const mode = PSK_MODES.find((candidate) => candidate === text)
  if (mode !== undefined) return mode
  throw invalid('E_PSK_INVALID', `it is one of ${PSK_MODES.join(', ')}`)
}

const invalid = (code: string, message: string, fix?: string): UserError =>
  new UserError({ code, message, fix, exitCode: EXIT.badConfig })
