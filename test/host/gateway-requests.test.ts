import type { RequestListener } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { createTestCa, type TestCa } from '../support/certificates.ts'
import { type RecordingServer, startRecordingServer } from '../support/recording-server.ts'

let ca: TestCa
const opened: AsyncDisposable[] = []

beforeAll(async () => {
  ca = await createTestCa()
})
afterEach(async () => {
  for (const thing of opened.splice(0).reverse()) await thing[Symbol.asyncDispose]()
})

async function connect(
  listener: RequestListener,
): Promise<{ connection: GatewayConnection; server: RecordingServer }> {
  const server = await startRecordingServer(await ca.issue(), listener)
  const connection = new GatewayConnection({ url: server.url, ca: ca.pem })
  opened.push(server, { [Symbol.asyncDispose]: async () => connection.close() })
  return { connection, server }
}

test('method, path, headers and body arrive as given, and the answer as sent', async () => {
  const { connection } = await connect(async (request, response) => {
    const body = (await buffer(request)).toString('hex')
    response.writeHead(201, {
      'x-seen': `${request.method} ${request.url} ${request.headers['x-mine']} ${body}`,
    })
    response.end(Buffer.from([0, 255]))
  })
  const body = Uint8Array.of(0, 1, 255)
  const answer = await connection.request({
    method: 'PUT',
    path: '/a?b=c',
    headers: { 'x-mine': 'yes' },
    body,
  })
  expect(answer.status).toBe(201)
  expect(answer.headers['x-seen']).toBe('PUT /a?b=c yes 0001ff')
  expect([...answer.body]).toEqual([0, 255])
})

test.each([301, 302, 303, 307, 308])('a redirect (%i) is not followed', async (status) => {
  const target = await connect((_request, response) => response.end('{}'))
  const location = target.server.url.http('/').href
  const { connection } = await connect((_request, response) => response.writeHead(status, { location }).end())
  await expect(connection.request({ method: 'GET', path: '/' })).rejects.toMatchObject({
    code: 'E_GATEWAY_ANSWER',
  })
  expect(target.server.handshakes()).toBe(0)
})

test('an endless answer is cut off', async () => {
  const { connection } = await connect(async (_request, response) => {
    while (response.writable) {
      response.write(Buffer.alloc(1024 * 1024))
      await sleep(1)
    }
  })
  await expect(connection.request({ method: 'GET', path: '/' })).rejects.toMatchObject({
    code: 'E_GATEWAY_ANSWER',
  })
})

test('silence ends at the timeout, before or after the headers', async () => {
  const silent = await connect(() => {})
  const halting = await connect((_request, response) => void response.writeHead(200).write('{'))
  for (const { connection } of [silent, halting]) {
    const asked = connection.request({ method: 'GET', path: '/', timeoutMs: 200 })
    await expect(asked).rejects.toMatchObject({ code: 'E_GATEWAY_TIMEOUT', exitCode: 8 })
  }
})

test('many requests share few connections when asked one by one, and do not wait for each other', async () => {
  const { connection, server } = await connect(async (_request, response) => {
    await sleep(50)
    response.end('{}')
  })
  for (let n = 0; n < 3; n++) await connection.request({ method: 'GET', path: '/' })
  expect(server.handshakes()).toBe(1)
  const started = performance.now()
  await Promise.all(Array.from({ length: 40 }, () => connection.request({ method: 'GET', path: '/' })))
  expect(performance.now() - started).toBeLessThan(40 * 50)
})

describe('call', () => {
  const Shape = z.object({ name: z.string() })
  const asked = { method: 'GET', path: '/' }

  test('returns what the schema reads', async () => {
    const { connection } = await connect((_request, response) => response.end('{"name":"a","newer":1}'))
    expect(await connection.call(Shape, asked)).toEqual({ name: 'a' })
  })

  test('takes an empty answer as undefined', async () => {
    const { connection } = await connect((_request, response) => response.writeHead(204).end())
    expect(await connection.call(z.undefined(), asked)).toBeUndefined()
  })

  test.each([
    [401, 'E_AUTH_INVALID', 4],
    [403, 'E_SECRET_DENIED', 7],
    [403, 'E_NODE_REMOVED', 194],
    [404, 'E_NODE_NOT_FOUND', 5],
    [409, 'E_KEY_IN_USE', 6],
    [503, 'E_UNAVAILABLE', 9],
    [418, 'E_OF_A_NEWER_GATEWAY', 1],
  ])('a refusal %i %s ends with exit code %i', async (status, code, exitCode) => {
    const problem = {
      type: 'about:blank',
      title: 'No.',
      status,
      code,
      detail: 'why',
      requestId: 'req_1',
      time: 0,
    }
    const { connection } = await connect((_request, response) =>
      response.writeHead(status).end(JSON.stringify(problem)),
    )
    const expected = { code, exitCode, message: 'No.', why: 'why', requestId: 'req_1' }
    await expect(connection.call(Shape, asked)).rejects.toMatchObject(expected)
  })

  test.each([
    [200, 'not json'],
    [200, '{"name":1}'],
    [200, ''],
    [500, '<html>'],
  ])('an answer that is no gateway’s: %i %j', async (status, body) => {
    const { connection } = await connect((_request, response) => response.writeHead(status).end(body))
    await expect(connection.call(Shape, asked)).rejects.toMatchObject({ code: 'E_GATEWAY_ANSWER' })
  })
})
