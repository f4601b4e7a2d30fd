/** The gateway's own secrets: keyring.json, gateway.jwk, gateway-next.jwk and admin.token, as the Worker is bound to them. */
import { join } from 'node:path'
import { generateApiToken, hashApiToken } from '../../crypto/api-token.ts'
import { writePrivateFile } from '../../host/private-file.ts'
import { keepGatewayKey, nextGatewayKey } from './gateway-key.ts'
import { keepKeyring } from './keyring-file.ts'
import { damaged, keepText, noGateway, readText } from './state-file.ts'

export interface KeyFiles {
  readonly adminTokenPath: string
  readonly bindings: Readonly<
    Record<'MASTER_KEYRING' | 'GATEWAY_SIGNING_KEY' | 'ADMIN_TOKEN_HASH', string>
  > & {
    readonly GATEWAY_NEXT_KEY?: string
  }
}

/**
 * @param fresh false for a gateway that has served before: its secrets are lost with its keyring, which is therefore never made anew. The
 * other two are.
 */
export function keepKeyFiles(directory: string, { fresh }: { readonly fresh: boolean }): KeyFiles {
  const adminTokenPath = join(directory, 'admin.token')
  const next = nextGatewayKey(directory)
  return {
    adminTokenPath,
    bindings: {
      MASTER_KEYRING: keepKeyring(directory, { fresh }),
      GATEWAY_SIGNING_KEY: keepGatewayKey(directory),
      ...(next !== undefined && { GATEWAY_NEXT_KEY: next }),
      ADMIN_TOKEN_HASH: hashApiToken(keepToken(adminTokenPath)),
    },
  }
}

/** The files of a gateway that runs. @throws UserError if one is missing, where a start would make it anew. */
export function rereadKeyFiles(directory: string): KeyFiles {
  for (const name of ['gateway.jwk', 'admin.token']) {
    const path = join(directory, name)
    if (readText(path) === undefined) throw damaged(path, 'it is missing')
  }
  return keepKeyFiles(directory, { fresh: false })
}

/** The old token is void when the gateway is next started or reads its files again. @returns where the new one is. */
export function rotateAdminToken(directory: string): string {
  const path = join(directory, 'admin.token')
  if (readText(path) === undefined) throw noGateway(directory)
  writePrivateFile(path, `${generateApiToken('claw')}\n`)
  return path
}

function keepToken(path: string): string {
  const token = keepText(path, () => `${generateApiToken('claw')}\n`).trim()
  if (!/^claw_[0-9A-Za-z]{32}([0-9A-Za-z]{6})?$/.test(token)) throw damaged(path, 'it is not an admin token')
  return token
}
