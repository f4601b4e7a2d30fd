/** The gateway's own secrets: keyring.json, gateway.jwk and admin.token, as the Worker is bound to them. */
import { createPrivateKey, generateKeyPairSync, type JsonWebKey, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { generateApiToken, hashApiToken } from '../../crypto/api-token.ts'
import { Keyring } from '../../crypto/keyring.ts'
import { damaged, keepText, readText } from './state-file.ts'

export interface KeyFiles {
  readonly adminTokenPath: string
  readonly bindings: Readonly<Record<'MASTER_KEYRING' | 'GATEWAY_SIGNING_KEY' | 'ADMIN_TOKEN_HASH', string>>
}

/**
 * @param fresh false for a gateway that has served before: its secrets are lost with its keyring, which is therefore never made anew. The
 * other two are: to change the admin token, delete its file and restart.
 */
export function keepKeyFiles(directory: string, { fresh }: { readonly fresh: boolean }): KeyFiles {
  const adminTokenPath = join(directory, 'admin.token')
  return {
    adminTokenPath,
    bindings: {
      MASTER_KEYRING: keepKeyring(join(directory, 'keyring.json'), fresh),
      GATEWAY_SIGNING_KEY: keepSigningKey(join(directory, 'gateway.jwk')),
      ADMIN_TOKEN_HASH: hashApiToken(keepToken(adminTokenPath)),
    },
  }
}

function keepKeyring(path: string, fresh: boolean): string {
  if (!fresh && readText(path) === undefined) throw damaged(path, 'it is missing')
  const make = () => JSON.stringify({ active: 1, keys: { 1: randomBytes(32).toString('base64') } })
  const text = keepText(path, make)
  if (Keyring.parse(text) === undefined) throw damaged(path, 'it is not a keyring')
  return text
}

function keepSigningKey(path: string): string {
  const make = () => JSON.stringify(generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }))
  const text = keepText(path, make)
  try {
    const key = createPrivateKey({ key: JSON.parse(text) as JsonWebKey, format: 'jwk' })
    if (key.asymmetricKeyType === 'ed25519') return text
  } catch {
    // Reported below, without the parser's words: they quote what they could not read.
  }
  throw damaged(path, 'it is not an Ed25519 private key')
}

function keepToken(path: string): string {
  const token = keepText(path, () => `${generateApiToken()}\n`).trim()
  if (!/^claw_[0-9A-Za-z]{32}$/.test(token)) throw damaged(path, 'it is not an admin token')
  return token
}
