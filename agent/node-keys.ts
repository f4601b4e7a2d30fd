/**
 * The node's three private keys, each in a file of its own (M-2): Ed25519 seed, WireGuard key, sealing key. They are saved before the
 * node enrols, so that a retry after a lost answer presents the same keys and can only be the same node.
 */
import { existsSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { base64ToBase64Url, fromBase64Url } from '../crypto/bytes.ts'
import { importSealingKey } from '../crypto/hpke.ts'
import { Identity } from '../crypto/identity.ts'
import { SecretBytes } from '../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../crypto/x25519.ts'
import {
  createPrivateFile,
  movePrivateFile,
  readPrivateFile,
  writePrivateFile,
} from '../host/private-file.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { SealingKey, WireGuardKey } from '../protocol/ids.ts'

const KEY_BYTES = 32
const IDENTITY = 'identity.key'
const NEXT = 'identity.next.key'
const WIREGUARD = 'wireguard.key'
const NEXT_WIREGUARD = 'wireguard.next.key'
export const KEY_FILES: readonly string[] = [IDENTITY, NEXT, WIREGUARD, NEXT_WIREGUARD, 'sealing.key']

export interface WireguardKeyPair {
  readonly privateKey: SecretBytes
  readonly publicKey: WireGuardKey
}

export interface NodeKeys {
  /** Replaced when it is rotated. */
  identity: Identity
  /** Replaced when it is rotated. */
  wireguard: WireguardKeyPair
  readonly sealing: {
    readonly privateKey: Awaited<ReturnType<typeof importSealingKey>>
    readonly publicKey: SealingKey
    /** The private key itself, read anew and the caller's to wipe: what needs it is rare. */
    readonly read: () => SecretBytes
  }
}

/** @throws UserError if a key file is missing, too open or damaged. */
export const loadKeys = (directory: string): Promise<NodeKeys> =>
  assemble((name) => readKey(join(directory, name)) ?? missing(join(directory, name)))

/** Makes the keys that are missing. A key that cannot be saved is not used. */
export const loadOrCreateKeys = (directory: string): Promise<NodeKeys> =>
  assemble((name, generate) => {
    const path = join(directory, name)
    return readKey(path) ?? createKey(path, generate()) ?? readKey(path) ?? missing(path)
  })

/** The identity key that is to follow, if there is one. */
export async function loadNextIdentity(directory: string): Promise<Identity | undefined> {
  using seed = readKey(join(directory, NEXT))
  return seed && Identity.fromSeed(seed)
}

/** Makes the identity key that is to follow, or finds the one that was made and not yet used. */
export async function keepNextIdentity(directory: string): Promise<Identity> {
  const path = join(directory, NEXT)
  using seed = readKey(path) ?? createKey(path, Identity.generateSeed()) ?? readKey(path) ?? missing(path)
  return Identity.fromSeed(seed)
}

/** The next key becomes the one in force; the old one is gone. */
export function promoteNextIdentity(directory: string): void {
  // Another command may have been quicker.
  if (existsSync(join(directory, NEXT))) movePrivateFile(join(directory, NEXT), join(directory, IDENTITY))
}

export const discardNextIdentity = (directory: string): void => rmSync(join(directory, NEXT), { force: true })

/** Whether there is a WireGuard key that is to follow, or that follows already and the gateway may not know. */
export const hasNextWireguard = (directory: string): boolean => existsSync(join(directory, NEXT_WIREGUARD))

/** Makes that key, or finds the one that was made before. */
export async function keepNextWireguard(directory: string): Promise<WireguardKeyPair> {
  const path = join(directory, NEXT_WIREGUARD)
  return wireguardPair(readKey(path) ?? createKey(path, generateX25519()) ?? readKey(path) ?? missing(path))
}

/** The next key is the one in force from now on, also after a crash; the old one is gone. The next one's file tells that nobody was told yet. */
export function putNextWireguardInForce(directory: string): void {
  const content = readPrivateFile(join(directory, NEXT_WIREGUARD))
  if (content === undefined) missing(join(directory, NEXT_WIREGUARD))
  writePrivateFile(join(directory, WIREGUARD), content)
  content.fill(0)
}

export const discardNextWireguard = (directory: string): void =>
  rmSync(join(directory, NEXT_WIREGUARD), { force: true })

/** When the key in force was made, in Unix ms. */
export const wireguardKeyMadeAt = (directory: string): number => statSync(join(directory, WIREGUARD)).mtimeMs

const wireguardPair = async (privateKey: SecretBytes): Promise<WireguardKeyPair> => ({
  privateKey,
  publicKey: WireGuardKey.parse(await x25519PublicKey(privateKey)),
})

async function assemble(load: (name: string, generate: () => SecretBytes) => SecretBytes): Promise<NodeKeys> {
  using seed = load(IDENTITY, Identity.generateSeed)
  const wireguard = load(WIREGUARD, generateX25519)
  using sealing = load('sealing.key', generateX25519)
  return {
    identity: await Identity.fromSeed(seed),
    wireguard: await wireguardPair(wireguard),
    sealing: {
      privateKey: await importSealingKey(sealing),
      publicKey: SealingKey.parse(await x25519PublicKey(sealing)),
      read: () => load('sealing.key', generateX25519),
    },
  }
}

/** Undefined if another process made the file first: its key counts. */
function createKey(path: string, key: SecretBytes): SecretBytes | undefined {
  return createPrivateFile(path, `${Buffer.from(key.expose()).toString('base64')}\n`) ? key : undefined
}

function readKey(path: string): SecretBytes | undefined {
  const content = readPrivateFile(path)
  if (content === undefined) return undefined
  const text = Buffer.from(content).toString('latin1').trimEnd()
  content.fill(0)
  const bytes = /^[A-Za-z0-9+/]{43}=$/.test(text) ? fromBase64Url(base64ToBase64Url(text)) : undefined
  if (bytes?.length !== KEY_BYTES) throw damaged(path)
  return SecretBytes.take(bytes)
}

function missing(path: string): never {
  throw new UserError({
    code: 'E_KEY_MISSING',
    message: `the key file ${path} is missing`,
    fix: 'restore it, or join again in an empty directory as a new node',
    exitCode: EXIT.badConfig,
  })
}

/** Says nothing of the content: a file that was mistaken for a key may hold another secret. */
const damaged = (path: string): UserError =>
  new UserError({
    code: 'E_KEY_INVALID',
    message: `${path} does not hold a key`,
    why: 'a key file holds 32 bytes in base64 and a line feed',
    fix: 'restore the file, or join again in an empty directory as a new node',
    exitCode: EXIT.badConfig,
  })
