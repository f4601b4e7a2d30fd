/**
 * The key by which nodes know the gateway, and its succession: gateway.jwk is in force, gateway-next.jwk is announced to every node that
 * connects, gateway-old.jwk was in force before.
 */
import { createPrivateKey, generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import { join } from 'node:path'
import { movePrivateFile, writePrivateFile } from '../../host/private-file.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { GatewayKey } from '../../protocol/ids.ts'
import { damaged, keepText, noGateway, readText } from './state-file.ts'

const IN_FORCE = 'gateway.jwk'
const NEXT = 'gateway-next.jwk'
const OLD = 'gateway-old.jwk'

/** The private key as a JWK, made if there is none. */
export const keepGatewayKey = (directory: string): string => keepKey(join(directory, IN_FORCE)).text

/** The public key that is to follow, if one is announced. */
export function nextGatewayKey(directory: string): GatewayKey | undefined {
  const path = join(directory, NEXT)
  const text = readText(path)
  return text === undefined ? undefined : publicKeyOf(path, text)
}

/** The public keys by which nodes and relays know this gateway: the one in force, and the next if it is announced. */
export function gatewayPublicKeys(directory: string): GatewayKey[] {
  const path = join(directory, IN_FORCE)
  const text = readText(path)
  if (text === undefined) throw noGateway(directory)
  const next = nextGatewayKey(directory)
  return [publicKeyOf(path, text), ...(next === undefined ? [] : [next])]
}

/** Makes the next key, or finds the one that was made. @returns its public half. */
export function announceGatewayKey(directory: string): GatewayKey {
  if (readText(join(directory, IN_FORCE)) === undefined) throw noGateway(directory)
  return keepKey(join(directory, NEXT)).publicKey
}

/** The announced key comes into force. @returns its public half. */
export function rotateGatewayKey(directory: string): GatewayKey {
  const inForce = join(directory, IN_FORCE)
  const before = readText(inForce)
  if (before === undefined) throw noGateway(directory)
  const next = nextGatewayKey(directory)
  if (next === undefined) throw notAnnounced()
  // A crash in between leaves all three keys, and the rotation can be done again.
  writePrivateFile(join(directory, OLD), before)
  movePrivateFile(join(directory, NEXT), inForce)
  return next
}

function keepKey(path: string): { readonly text: string; readonly publicKey: GatewayKey } {
  const make = () => JSON.stringify(generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }))
  const text = keepText(path, make)
  return { text, publicKey: publicKeyOf(path, text) }
}

function publicKeyOf(path: string, text: string): GatewayKey {
  try {
    const key = createPrivateKey({ key: JSON.parse(text) as JsonWebKey, format: 'jwk' })
    if (key.asymmetricKeyType === 'ed25519') return GatewayKey.parse(key.export({ format: 'jwk' }).x)
  } catch {
    // Reported below, without the parser's words: they quote what they could not read.
  }
  throw damaged(path, 'it is not an Ed25519 private key')
}

const notAnnounced = (): UserError =>
  new UserError({
    code: 'E_NOT_ANNOUNCED',
    message: 'no next key was announced',
    why: 'every node would take the gateway for an impostor',
    fix: 'claw gateway-key announce, then SIGHUP to `claw up`, and let every node connect once',
    exitCode: EXIT.conflict,
  })
