/**
 * The gateway's configuration, read once an isolate. Whatever is missing or malformed is named together, and until all is right the
 * gateway answers 503: it never runs open (R8).
 */
import { importJWK, type JWK } from 'jose'
import * as z from 'zod'
import type { GatewaySigner } from '../crypto/gateway-proof.ts'
import { Keyring } from '../crypto/keyring.ts'
import { type Ipv4Range, isPrivateRange, parseIpv4Range } from '../protocol/addresses.ts'
import { GatewayKey } from '../protocol/ids.ts'
import { MAX_MESH_LEASE_MS, MESH_LEASE_MS, MIN_MESH_LEASE_MS } from '../protocol/limits.ts'
import { SIGNATURE_ALGORITHM } from '../protocol/proof.ts'
import { StunServers } from '../protocol/stun-servers.ts'
import type { Env } from './env.ts'
import { parseRelays, type Relays } from './relays.ts'

export interface Config {
  readonly fleetName: string
  readonly range: Ipv4Range
  readonly shards: number
  /** How long nodes use the map after they last heard this gateway. */
  readonly meshLeaseMs: number
  readonly origins: ReadonlySet<string>
  readonly ca: string | undefined
  readonly keyring: Keyring
  readonly signing: GatewaySigner & { readonly publicKey: CryptoKey }
  /** Whether requests come through Cloudflare's edge, whose word on address and TLS can be believed; elsewhere a client may write it. */
  readonly behindCloudflare: boolean
  /** Empty where the gateway does not know its own certificate. */
  readonly tlsSpki: ReadonlySet<string>
  readonly adminTokenHash: string
  /** STUN servers that nodes are told of; none if the owner has named none. */
  readonly stun: readonly string[]
  readonly relays: Relays
}

/** Names of the settings that are absent or wrong, never their values. */
export class ConfigError extends Error {
  readonly settings: readonly string[]

  constructor(settings: readonly string[]) {
    super(`missing or malformed: ${settings.join(', ')}`)
    this.settings = settings
  }
}

const SigningKey = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string(),
  d: z.string(),
})
const HASH = /^[A-Za-z0-9_-]{43}$/
const BINDINGS = [
  'FLEET',
  'SESSION_SHARD',
  'RELAY_SHARD',
  'AUDIT_LOG',
  'KEY_REWRAP',
  'DB',
  'CIPHERTEXTS',
] as const
const MAX_SHARDS = 999

const cache = new WeakMap<object, Promise<Config>>()

/** @throws ConfigError */
export function readConfig(env: Env): Promise<Config> {
  const cached = cache.get(env)
  if (cached !== undefined) return cached
  const config = parse(env)
  cache.set(env, config)
  return config
}

async function parse(env: Env): Promise<Config> {
  const wrong: string[] = BINDINGS.filter((binding) => env[binding] === undefined)
  const check = <T>(name: keyof Env, value: T | undefined): T | undefined => {
    if (value === undefined) wrong.push(name)
    return value
  }

  const range = check('FLEET_CIDR', parseFleetRange(env.FLEET_CIDR))
  const shards = check('SESSION_SHARDS', parseCount(env.SESSION_SHARDS))
  const meshLeaseMs = check('MESH_LEASE', parseLease(env.MESH_LEASE))
  const fleetName = check(
    'FLEET_NAME',
    /^[a-z0-9-]{1,63}$/.test(env.FLEET_NAME ?? '') ? env.FLEET_NAME : undefined,
  )
  const origins = check('GATEWAY_ORIGINS', parseOrigins(env.GATEWAY_ORIGINS))
  const keyring = check('MASTER_KEYRING', Keyring.parse(env.MASTER_KEYRING ?? ''))
  const next =
    env.GATEWAY_NEXT_KEY === undefined ? undefined : GatewayKey.safeParse(env.GATEWAY_NEXT_KEY).data
  if (env.GATEWAY_NEXT_KEY !== undefined && next === undefined) wrong.push('GATEWAY_NEXT_KEY')
  const signing = check('GATEWAY_SIGNING_KEY', await parseSigningKey(env.GATEWAY_SIGNING_KEY, next))
  const tlsSpki = words(env.GATEWAY_TLS_SPKI)
  if (!tlsSpki.every((hash) => HASH.test(hash))) wrong.push('GATEWAY_TLS_SPKI')
  const stun = check('STUN_SERVERS', StunServers.safeParse(words(env.STUN_SERVERS)).data)
  const relays = check('RELAYS', parseRelays(env.RELAYS))
  const adminTokenHash = check(
    'ADMIN_TOKEN_HASH',
    /^[0-9a-f]{64}$/.test(env.ADMIN_TOKEN_HASH ?? '') ? env.ADMIN_TOKEN_HASH : undefined,
  )
  if (
    !range ||
    !shards ||
    !meshLeaseMs ||
    !fleetName ||
    !origins ||
    !keyring ||
    !signing ||
    !adminTokenHash ||
    !stun ||
    !relays ||
    wrong.length > 0
  ) {
    throw new ConfigError(wrong)
  }
  return {
    fleetName,
    range,
    shards,
    meshLeaseMs,
    origins,
    ca: env.GATEWAY_CA,
    keyring,
    signing,
    behindCloudflare: env.EDGE === 'cloudflare',
    tlsSpki: new Set(tlsSpki),
    adminTokenHash,
    stun,
    relays,
  }
}

/** Private (RFC 1918) or shared (RFC 6598): a fleet on public addresses would take its nodes' Internet from them. */
function parseFleetRange(cidr: string | undefined): Ipv4Range | undefined {
  const range = parseIpv4Range(cidr ?? '')
  return range !== undefined && isPrivateRange(range) ? range : undefined
}

function parseCount(text: string | undefined): number | undefined {
  const value = /^[0-9]{1,3}$/.test(text ?? '') ? Number(text) : 0
  return value >= 1 && value <= MAX_SHARDS ? value : undefined
}

const LEASE_UNIT_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `10m`, `12h`, `7d`: from a minute, below which a reconnect would cost a node its peers, to a year. */
function parseLease(text: string | undefined): number | undefined {
  if (text === undefined) return MESH_LEASE_MS
  const [, count, unit = ''] = /^([0-9]{1,5})([mhd])$/.exec(text) ?? []
  const ms = Number(count) * (LEASE_UNIT_MS[unit] ?? 0)
  return ms >= MIN_MESH_LEASE_MS && ms <= MAX_MESH_LEASE_MS ? ms : undefined
}

const words = (text: string | undefined): string[] => (text ?? '').split(/\s+/).filter((word) => word !== '')

function parseOrigins(text: string | undefined): ReadonlySet<string> | undefined {
  const origins = words(text)
  const valid = origins.every(
    (origin) => URL.canParse(origin) && new URL(origin).origin === origin && origin.startsWith('https:'),
  )
  return valid && origins.length > 0 ? new Set(origins) : undefined
}

async function parseSigningKey(
  text: string | undefined,
  next: GatewayKey | undefined,
): Promise<Config['signing'] | undefined> {
  try {
    const jwk = SigningKey.parse(JSON.parse(text ?? ''))
    const { d: _, ...publicJwk } = jwk
    const key = GatewayKey.parse(jwk.x)
    return { key, next, privateKey: await importKey(jwk), publicKey: await importKey(publicJwk) }
  } catch {
    return undefined
  }
}

const importKey = async (jwk: JWK): Promise<CryptoKey> =>
  (await importJWK(jwk, SIGNATURE_ALGORITHM)) as CryptoKey
