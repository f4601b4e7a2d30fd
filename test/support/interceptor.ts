/** Somebody between a node and its gateway: on the same port, at another address of this machine. */
import { once } from 'node:events'
import { connect as connectTcp, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'

interface Place {
  readonly host: string
  readonly port: number
}

export interface Interceptor extends AsyncDisposable {
  /** What the clients sent, as far as it could be read. */
  read(): string
}

/** Hands the bytes on as they are: a router, which sees nothing of what is in TLS. */
export const startForwarder = (at: Place, gateway: Place): Promise<Interceptor> =>
  listen(createTcpServer(), 'connection', at, () => connectTcp(gateway))

/** Ends TLS with a certificate of its own, reads along, and hands everything on. */
export const startInterceptor = (
  at: Place,
  gateway: Place,
  { key, cert }: { readonly key: string; readonly cert: string },
): Promise<Interceptor> =>
  listen(createTlsServer({ key, cert, ALPNProtocols: ['http/1.1'] }), 'secureConnection', at, () =>
    connectTls({ ...gateway, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }),
  )

async function listen(
  server: Server,
  event: string,
  { host, port }: Place,
  dial: () => Socket,
): Promise<Interceptor> {
  const sockets = new Set<Socket>()
  const chunks: Buffer[] = []
  server.on(event, (client: Socket) => {
    const onward = dial()
    for (const [socket, other] of [[client, onward] as const, [onward, client] as const]) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => other.destroy())
      socket.pipe(other)
    }
    client.on('data', (chunk: Buffer) => chunks.push(chunk))
  })
  server.listen(port, host)
  await once(server, 'listening')
  return {
    read: () => Buffer.concat(chunks).toString('latin1'),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
