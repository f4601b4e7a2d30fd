/**
 * Branded identifiers and keys. Text becomes one of these at the edge, once; inside, no bare string carries meaning.
 */
import * as z from 'zod'
import { MAX_TAGS } from './limits.ts'

/** 26 characters of lowercase base32: the first 16 bytes of SHA-256 over the node's first identity key (see crypto/node-id.ts). */
export const NodeId = z
  .string()
  .regex(/^[a-z2-7]{26}$/, 'a node id is 26 characters of a-z 2-7')
  .brand<'NodeId'>()
export type NodeId = z.infer<typeof NodeId>

/** A DNS label, because it becomes a name in the mesh. */
export const NodeName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'a node name is a DNS label: a-z 0-9 and -, at most 63')
  .brand<'NodeName'>()
export type NodeName = z.infer<typeof NodeName>

const Tag = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_.:-]{0,62}$/, 'a tag is 1 to 63 of a-z 0-9 _ . : -')
  .brand<'Tag'>()
export const Tags = z.array(Tag).max(MAX_TAGS)
export type Tags = z.infer<typeof Tags>

/** Folders separated by `/`, each name by the original's SecretId rule: a-z 0-9 . _ -, first a letter or digit, last neither - nor dot. */
export const SecretName = z
  .string()
  .max(253)
  .regex(
    /^[a-z0-9]([a-z0-9._-]*[a-z0-9_])?(\/[a-z0-9]([a-z0-9._-]*[a-z0-9_])?)*$/,
    'a secret name is 1 to 253 of a-z 0-9 . _ -, in folders by /; each part starts with a letter or digit and does not end in - or dot',
  )
  .brand<'SecretName'>()
export type SecretName = z.infer<typeof SecretName>

export const TokenId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{22}$/)
  .brand<'TokenId'>()
export type TokenId = z.infer<typeof TokenId>

export const SessionId = z.uuid().brand<'SessionId'>()
export type SessionId = z.infer<typeof SessionId>

/** 32 bytes have exactly one form: the last of 43 characters carries four bits, and its two others are zero. Without that, one key has four names. */
const PUBLIC_KEY = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/
/** Ed25519 public key, 32 bytes in unpadded base64url. */
export const IdentityKey = z.string().regex(PUBLIC_KEY, '32 bytes in base64url').brand<'IdentityKey'>()
export type IdentityKey = z.infer<typeof IdentityKey>
/** WireGuard (X25519) public key, 32 bytes in unpadded base64url. */
export const WireGuardKey = z.string().regex(PUBLIC_KEY, '32 bytes in base64url').brand<'WireGuardKey'>()
export type WireGuardKey = z.infer<typeof WireGuardKey>
/** HPKE (X25519) public key to which secrets and signals for this node are sealed. */
export const SealingKey = z.string().regex(PUBLIC_KEY, '32 bytes in base64url').brand<'SealingKey'>()
export type SealingKey = z.infer<typeof SealingKey>

/** Ed25519 public key with which the gateway signs what it says to nodes. */
export const GatewayKey = z.string().regex(PUBLIC_KEY, '32 bytes in base64url').brand<'GatewayKey'>()
export type GatewayKey = z.infer<typeof GatewayKey>

/** Dotted IPv4, without leading zeros. */
export const Ipv4 = z.ipv4().brand<'Ipv4'>()
export type Ipv4 = z.infer<typeof Ipv4>
/** IPv6 in the form of RFC 5952. */
export const Ipv6 = z.ipv6().brand<'Ipv6'>()
export type Ipv6 = z.infer<typeof Ipv6>

/** A network in CIDR form, IPv4 or IPv6, with no bit set beyond its prefix and no prefix of zero: nobody takes all of the Internet. */
export const Cidr = z
  .union([z.cidrv4(), z.cidrv6()])
  .refine(isNetwork, 'a network is an address with no bit set beyond its prefix, which is not /0')
  .brand<'Cidr'>()
export type Cidr = z.infer<typeof Cidr>

/** `a.b.c.d:port` or `[v6]:port`; names are not endpoints, because WireGuard resolves them once and never again. */
export const Endpoint = z
  .string()
  .refine(isEndpoint, 'an endpoint is IPv4:port or [IPv6]:port')
  .brand<'Endpoint'>()
export type Endpoint = z.infer<typeof Endpoint>

function isEndpoint(text: string): boolean {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text)
  if (match === null) return false
  const port = Number(match[3])
  if (port < 1 || port > 65_535) return false
  return match[1] === undefined ? z.ipv4().safeParse(match[2]).success : z.ipv6().safeParse(match[1]).success
}

function isNetwork(text: string): boolean {
  const [address = '', length = ''] = text.split('/')
  const bits = addressBits(address)
  const prefix = Number(length)
  return prefix > 0 && !bits.slice(prefix).includes('1')
}

/** An IP address as 32 or 128 characters of 0 and 1. */
export function addressBits(address: string): string {
  if (!address.includes(':'))
    return address
      .split('.')
      .map((octet) => Number(octet).toString(2).padStart(8, '0'))
      .join('')
  const [head = '', tail] = address.split('::')
  const groups = (part = ''): string[] => part.split(':').filter((group) => group !== '')
  const [before, after] = [groups(head), groups(tail)]
  const middle = tail === undefined ? [] : Array<string>(8 - before.length - after.length).fill('0')
  return [...before, ...middle, ...after]
    .map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0'))
    .join('')
}

/** Random name of a fleet; its first 40 bits are the fleet's IPv6 unique-local prefix (RFC 4193). */
export const FleetId = z
  .string()
  .regex(/^[a-z2-7]{26}$/)
  .brand<'FleetId'>()
export type FleetId = z.infer<typeof FleetId>
