/**
 * The one socket that clients reach, as a plugin of Miniflare: TLS, bound straight to the Worker's `publicSocket`. Miniflare's own entry and
 * its direct sockets believe headers of the client (MF-Original-URL, X-Forwarded-Proto, MF-CF-Blob) and open paths and protocols of their own.
 */
import type { Plugin, Socket } from 'miniflare'
import { SOCKET_PLUGIN } from './build-output.ts'
import { TlsOptions_Version } from './miniflare.ts'

const NAME = 'public-socket'
const BINDING = 'PUBLIC_SOCKET'
/** Of worker/embedded.ts. */
const ENTRYPOINT = 'publicSocket'

// Not an interface: Miniflare takes an object with any keys.
export type PublicSocket = {
  readonly host: string
  readonly port: number
  readonly key: string
  readonly chain: string
}

/** What `publicSocketBinding` puts there. */
type PublicSocketBinding = { readonly options: PublicSocket }

/** For the Worker's environment: Miniflare loads a plugin where a binding names it. The Worker itself sees nothing of it. */
export const publicSocketBinding = (socket: PublicSocket) =>
  ({
    [BINDING]: {
      type: `unsafe:${NAME}`,
      dev: { plugin: { package: SOCKET_PLUGIN, name: NAME }, options: socket },
    },
  }) as const

/** @public Looked up by Miniflare, by this name. */
export const plugins: Readonly<Record<typeof NAME, Plugin>> = {
  [NAME]: {
    getBindings() {},
    getNodeBindings: () => ({}),
    getServices({ options: { config } }) {
      const dev = config.env?.[BINDING]?.dev as PublicSocketBinding | undefined
      if (dev === undefined) throw new Error('the public socket is not bound')
      return { services: [], extensions: [], sockets: [tlsSocket(config.name, dev.options)] }
    },
  },
}

function tlsSocket(worker: string, { host, port, key, chain }: PublicSocket): Socket {
  return {
    name: NAME,
    address: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    service: { name: `core:user:${worker}`, entrypoint: ENTRYPOINT },
    https: {
      // Nothing is configured that would have the socket believe a header. This one is Cloudflare's word, which nobody else may put in its mouth.
      options: { injectRequestHeaders: [{ name: 'CF-Connecting-IP' }] },
      tlsOptions: {
        keypair: { privateKey: key, certificateChain: chain },
        minVersion: TlsOptions_Version.TLS1DOT2,
      },
    },
  }
}
