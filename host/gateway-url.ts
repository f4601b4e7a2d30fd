/** The address of a gateway (H-1): TLS only, checked before any socket is opened. */
import { EXIT, UserError } from './user-error.ts'

export interface GatewayUrl {
  /** `https://host[:port]`, as it appears in the audience of a request proof. */
  readonly origin: string
  /** Name or address; IPv6 without brackets. */
  readonly host: string
  readonly port: number
  http(path: string): URL
  ws(path: string): URL
}

/** Scheme, then an authority that holds something: the URL parser itself also takes `https:host` and `https:///host`. */
const SHAPE = /^([a-z][a-z0-9+.-]*):\/\/[^/?#\\@]+(?:\/[^?#\\]*)?$/i
const PLAINTEXT = /^(ws|http):/i

/** Whether the address asks for a connection without TLS. */
export const isPlaintext = (text: string): boolean => PLAINTEXT.test(text)

/**
 * Reads `https://host[:port]` or `wss://host[:port]`. A path is taken, because addresses of the original had one, but every request is
 * addressed from the origin.
 */
export function parseGatewayUrl(text: string): GatewayUrl {
  const plaintext = PLAINTEXT.exec(text)?.[1]?.toLowerCase()
  if (plaintext !== undefined) throw insecure(plaintext)

  const scheme = SHAPE.exec(text)?.[1]?.toLowerCase()
  // The URL parser drops white space and control characters; an address that holds any was not meant as it reads.
  if ((scheme !== 'https' && scheme !== 'wss') || /[\s\p{Cc}]/u.test(text)) throw invalid(text)
  const url = URL.parse(text.replace(/^wss/i, 'https'))
  if (url === null || url.hostname === '') throw invalid(text)

  const { origin, hostname, port } = url
  return {
    origin,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? 443 : Number(port),
    http: (path) => join(origin, path),
    ws: (path) => join(origin.replace('https', 'wss'), path),
  }
}

/** Not `new URL(path, origin)`, for which `//elsewhere` is another host. */
function join(origin: string, path: string): URL {
  if (!path.startsWith('/')) throw new TypeError('a path starts with /')
  return new URL(origin + path)
}

function insecure(scheme: string): UserError {
  return new UserError({
    code: 'E_INSECURE_TRANSPORT',
    message: `${scheme}:// is plaintext, and require_tls is always on`,
    why: 'tokens and keys must not cross a network in clear',
    fix: `use ${scheme === 'ws' ? 'wss' : 'https'}:// in the gateway's address`,
    exitCode: EXIT.badConfig,
  })
}

function invalid(text: string): UserError {
  return new UserError({
    code: 'E_GATEWAY_URL',
    message: 'this is not the address of a gateway',
    why: text.includes('@') ? 'an address holds no user name or password' : JSON.stringify(text),
    fix: 'use https://HOST[:PORT], without query or fragment',
    exitCode: EXIT.badConfig,
  })
}
