/** What the files of a gateway's directory decide of how it runs: its keys and its certificate, made where they are missing, or read again. */
import { X509Certificate } from 'node:crypto'
import { spkiSha256 } from '../../host/pins.ts'
import type { ReloadableOptions } from './embedded-gateway.ts'
import { type KeyFiles, keepKeyFiles, rereadKeyFiles } from './key-files.ts'
import { checkSuccessor } from './keyring-file.ts'
import { keepTlsFiles, type TlsFiles } from './tls-files.ts'

/** What the files do not decide. */
export interface Place {
  readonly directory: string
  readonly names: readonly string[]
  readonly origins: readonly string[]
  readonly stun: readonly string[]
  /** As RELAYS in wrangler.toml. */
  readonly relays: string
}

export interface GatewayFiles {
  readonly keys: KeyFiles
  readonly tls: TlsFiles
}

/** @param fresh false for a gateway that has served before: what is missing there is lost. */
export async function keepGatewayFiles(
  { directory, names }: Place,
  { fresh }: { readonly fresh: boolean },
): Promise<GatewayFiles> {
  return { keys: keepKeyFiles(directory, { fresh }), tls: await keepTlsFiles(directory, names, { fresh }) }
}

/** @throws UserError if the gateway could not go on with them. */
export async function rereadGatewayFiles(
  { directory, names }: Place,
  before: GatewayFiles,
): Promise<GatewayFiles> {
  const keys = rereadKeyFiles(directory)
  checkSuccessor(directory, before.keys.bindings.MASTER_KEYRING, keys.bindings.MASTER_KEYRING)
  return { keys, tls: await keepTlsFiles(directory, names, { fresh: false }) }
}

export const gatewayOptions = (
  { keys, tls }: GatewayFiles,
  { origins, stun, relays }: Place,
): ReloadableOptions => ({
  tls: { key: tls.key, chain: tls.chain },
  bindings: {
    ...keys.bindings,
    EDGE: 'embedded',
    GATEWAY_ORIGINS: origins.join(' '),
    STUN_SERVERS: stun.join(' '),
    RELAYS: relays,
    GATEWAY_CA: tls.ca.toString(),
    GATEWAY_TLS_SPKI: spkiSha256(new X509Certificate(tls.chain), 'base64url'),
  },
})
