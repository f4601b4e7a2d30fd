/** The DNS server on real sockets, asked by Node's own resolver and by clients that mean ill. */
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import dns, { type Packet } from 'dns-packet'
import { afterEach, describe, expect, test } from 'vitest'
import { answer } from '../../agent/dns/answer.ts'
import { DnsServer, type DnsServerOptions } from '../../agent/dns/dns-server.ts'
import { SourceLimit } from '../../agent/dns/source-limit.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { DOMAIN, named, zoneOf } from './dns-zone.ts'

const label = 'f'.repeat(63)
const small = zoneOf([named('here', 1), named('gpu', 2)])
const long = zoneOf([named('n'.repeat(63), 1)], { domain: `${label}.internal` })

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** On a port that is free for UDP and TCP alike, of all addresses. */
async function start(change: Partial<DnsServerOptions> = {}): Promise<{ server: DnsServer; port: number }> {
  for (;;) {
    const probe = createSocket('udp4').bind(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address()
    await new Promise<void>((resolve) => probe.close(() => resolve()))
    try {
      const server = await DnsServer.listen({
        addresses: ['127.0.0.1', '::1'],
        port,
        admits: () => true,
        answer: (packet, transport) => answer(packet, small, transport),
        onFailure: (problem) => expect.fail(problem),
        ...change,
      })
      closing.push(() => server.close())
      return { server, port }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    }
  }
}

function resolver(server: string): Resolver {
  const made = new Resolver({ timeout: 1_000, tries: 2 })
  made.setServers([server])
  return made
}

function query(name: string, id = 1): Buffer {
  const questions: Packet['questions'] = [{ name, type: 'A' }]
  return dns.encode({ type: 'query', id, questions })
}

async function tcp(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  closing.push(() => socket.destroy())
  await once(socket, 'connect')
  return socket.on('error', () => {})
}

const framed = (packet: Uint8Array): Buffer =>
  Buffer.concat([Buffer.of(packet.length >> 8, packet.length & 255), packet])

/** The ids of the answers on a connection, once there are so many. */
async function answers(socket: Socket, count: number): Promise<number[]> {
  let bytes = Buffer.alloc(0)
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    bytes = Buffer.concat([bytes, chunk as Buffer])
    const ids: number[] = []
    for (
      let at = 0;
      at + 2 <= bytes.length && at + 2 + bytes.readUInt16BE(at) <= bytes.length;
      at += 2 + bytes.readUInt16BE(at)
    )
      ids.push(bytes.readUInt16BE(at + 2))
    if (ids.length >= count) return ids
  }
  return expect.fail('the connection was closed')
}

describe('the server', () => {
  test('is asked over IPv4 and IPv6 by a resolver that knows nothing of it', async () => {
    const { port } = await start()
    for (const address of [`127.0.0.1:${port}`, `[::1]:${port}`]) {
      const client = resolver(address)
      expect(await client.resolve4(`gpu.${DOMAIN}`)).toEqual(['10.100.0.2'])
      expect(await client.resolve6(`gpu.${DOMAIN}`)).toEqual([named('gpu', 2).ipv6])
      expect(await client.reverse('10.100.0.2')).toEqual([`gpu.${DOMAIN}`])
      expect(await client.reverse(named('gpu', 2).ipv6)).toEqual([`gpu.${DOMAIN}`])
      await expect(client.resolve4(`no.${DOMAIN}`)).rejects.toMatchObject({ code: 'ENOTFOUND' })
      await expect(client.resolveMx(`gpu.${DOMAIN}`)).rejects.toMatchObject({ code: 'ENODATA' })
      await expect(client.resolve4('example.com')).rejects.toMatchObject({ code: 'EREFUSED' })
    }
  })

  test('gives by TCP what a datagram does not hold', async () => {
    const transports: string[] = []
    const { port } = await start({
      answer: (packet, transport) => {
        transports.push(transport)
        return answer(packet, long, transport)
      },
    })
    const socket = createSocket('udp4')
    closing.push(() => socket.close())
    const name = ['x'.repeat(57), 'y'.repeat(63), 'z'.repeat(50), label, 'internal'].join('.')
    socket.send(query(name), port, '127.0.0.1')
    const [packet] = (await once(socket, 'message')) as [Buffer]
    expect(dns.decode(packet)).toMatchObject({ flag_tc: true })
    const connection = await tcp(port)
    connection.write(framed(query(name, 9)))
    expect(await answers(connection, 1)).toEqual([9])
    expect(transports).toEqual(['udp', 'tcp'])
  })

  test('takes several questions on a connection, in pieces of any size', async () => {
    const { port } = await start()
    const connection = await tcp(port)
    const bytes = Buffer.concat([1, 2, 3].map((id) => framed(query(`gpu.${DOMAIN}`, id))))
    connection.setNoDelay()
    for (const byte of bytes) {
      connection.write(Buffer.of(byte))
      await setImmediate()
    }
    expect(await answers(connection, 3)).toEqual([1, 2, 3])
  })

  test('does not hear whom it does not admit', async () => {
    const heard: string[] = []
    const { port } = await start({
      admits: (address) => address === '127.0.0.1',
      answer: (packet, transport) => {
        heard.push(transport)
        return answer(packet, small, transport)
      },
    })
    const connection = connect(port, '::1').on('error', () => {})
    closing.push(() => connection.destroy())
    await once(connection, 'close')
    const stranger = createSocket('udp6')
    closing.push(() => stranger.close())
    stranger.send(query(`gpu.${DOMAIN}`), port, '::1')
    // Sent after the stranger's, and on the same machine received after it.
    expect(await resolver(`127.0.0.1:${port}`).resolve4(`gpu.${DOMAIN}`)).toHaveLength(1)
    expect(heard).toEqual(['udp'])
  })

  test('hangs up on what is no question, and on one that is too long', async () => {
    const { port } = await start()
    for (const bytes of [framed(Buffer.alloc(3)), Buffer.of(0xff, 0xff), framed(Buffer.alloc(0))]) {
      const connection = await tcp(port)
      connection.write(bytes)
      connection.resume()
      await once(connection, 'close')
    }
  })

  test('hangs up on who asks and does not read', async () => {
    const { port } = await start()
    const connection = await tcp(port)
    connection.pause()
    const many = Buffer.concat(Array.from({ length: 1_000 }, (_, id) => framed(query(`no.${DOMAIN}`, id))))
    // The server's reset is an error here, which `once` would throw.
    const closed = new Promise((resolve) => connection.once('close', resolve))
    const flood = (): void => {
      while (!connection.destroyed && connection.write(many));
    }
    connection.on('drain', flood)
    flood()
    await closed
  })

  test('serves a newcomer although somebody holds all the connections there may be', async () => {
    const { port } = await start()
    const held: Socket[] = []
    for (let n = 0; n < 64; n++) held.push(await tcp(port))
    const evicted = once(held[0] as Socket, 'close')
    held[0]?.resume()
    const newcomer = await tcp(port)
    newcomer.write(framed(query(`gpu.${DOMAIN}`, 5)))
    expect(await answers(newcomer, 1)).toEqual([5])
    await evicted
  })

  test('that finds its port taken leaves nothing open', async () => {
    const { port } = await start({ addresses: ['::1'] })
    const second = DnsServer.listen({
      addresses: ['127.0.0.1', '::1'],
      port,
      admits: () => true,
      answer: () => undefined,
      onFailure: () => {},
    })
    await expect(second).rejects.toMatchObject({ code: 'EADDRINUSE' })
    const again = createSocket('udp4')
    closing.push(() => again.close())
    again.bind({ port, address: '127.0.0.1', exclusive: true })
    await once(again, 'listening')
  })

  test('closes with connections open', async () => {
    const { server, port } = await start()
    const connection = await tcp(port)
    const closed = once(connection.resume(), 'close')
    await server.close()
    await closed
  })
})

describe('one address', () => {
  test('may ask so much, and no more, whatever others ask', () => {
    const clock = new ManualClock()
    const limit = new SourceLimit(clock)
    const admitted = (address: string, asked: number) =>
      Array.from({ length: asked }, () => limit.admit(address)).filter(Boolean).length
    expect(admitted('10.100.0.2', 1_000)).toBe(400)
    expect(admitted('10.100.0.3', 10)).toBe(10)
    clock.advance(1_000)
    expect(admitted('10.100.0.2', 1_000)).toBe(100)
    clock.advance(3_600_000)
    expect(admitted('10.100.0.2', 1_000)).toBe(400)
  })
})
