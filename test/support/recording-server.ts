/** An HTTPS and WebSocket server on loopback that notes every byte of application data it was sent. */
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { WebSocketServer } from 'ws'
import { type GatewayUrl, parseGatewayUrl } from '../../host/gateway-url.ts'
import type { TestServerCertificate } from './certificates.ts'

export interface RecordingServer extends AsyncDisposable {
  readonly url: GatewayUrl
  /** Application bytes received over all connections. */
  received(): number
  /** TLS handshakes that completed. */
  handshakes(): number
  present(certificate: TestServerCertificate): void
}

export async function startRecordingServer(
  certificate: TestServerCertificate,
  listener: RequestListener = (_request, response) => response.end('{}'),
): Promise<RecordingServer> {
  const server = createServer({ key: certificate.key, cert: certificate.cert }, listener)
  const webSockets = new WebSocketServer({ server })
  const sockets = new Set<TLSSocket>()
  let received = 0
  server.on('secureConnection', (socket: TLSSocket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk: Uint8Array) => {
      received += chunk.length
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: parseGatewayUrl(`https://localhost:${port}`),
    received: () => received,
    handshakes: () => sockets.size,
    present: ({ key, cert }) => server.setSecureContext({ key, cert }),
    async [Symbol.asyncDispose]() {
      webSockets.close()
      server.close()
      for (const socket of sockets) socket.destroy()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
