/** HTTP requests and WebSockets to one gateway, over connections that GatewayAgent has checked. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { WebSocket } from 'ws'
import type * as z from 'zod'
import { parseJson } from '../protocol/json.ts'
import { checkCa } from './ca-file.ts'
import { connectionError, gatewayTimeout } from './connection-error.ts'
import { GatewayAgent, type GatewayTrust } from './gateway-agent.ts'
import type { GatewayUrl } from './gateway-url.ts'
import { parseProblem, problemToUserError } from './problem.ts'
import { UserError } from './user-error.ts'

const REQUEST_TIMEOUT_MS = 30_000
const WEBSOCKET_TIMEOUT_MS = 10_000
/** Bounds what a broken or hostile server can make this process hold: four times the largest page of nodes. */
const MAX_RESPONSE_BYTES = 8 * 1024 * 1024
/** Frames of the session are at most 64 KiB; the rest is room for a newer gateway. */
const MAX_MESSAGE_BYTES = 1024 * 1024

export interface GatewayRequest {
  readonly method: string
  /** With query, starting with `/`. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string
  readonly timeoutMs?: number
}

export interface GatewayResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Uint8Array
}

export class GatewayConnection {
  readonly url: GatewayUrl
  readonly #requests: GatewayAgent
  /** Of its own, so that a session never starts on a connection the gateway is about to close as idle. */
  readonly #upgrades: GatewayAgent

  constructor(options: { readonly url: GatewayUrl } & GatewayTrust) {
    if (options.ca !== undefined) checkCa(options.ca, 'the given CA')
    this.url = options.url
    this.#requests = new GatewayAgent(options.url, options, { keepAlive: true })
    this.#upgrades = new GatewayAgent(options.url, options, { keepAlive: false })
  }

  /** Any status but a redirect is an answer; redirects are never followed, because they could lead off TLS. */
  async request(asked: GatewayRequest): Promise<GatewayResponse> {
    const signal = AbortSignal.timeout(asked.timeoutMs ?? REQUEST_TIMEOUT_MS)
    try {
      const response = await this.#send(asked, signal)
      const status = response.statusCode ?? 0
      if (status >= 300 && status < 400) {
        response.destroy()
        throw unexpected(this.url, `it redirects (${status}), which is never followed`)
      }
      return { status, headers: response.headers, body: await this.#read(response) }
    } catch (error) {
      if (signal.aborted) throw gatewayTimeout(this.url)
      throw error instanceof Error ? connectionError(this.url, error) : error
    }
  }

  /** The answer as the schema reads it; a refusal of the gateway is thrown as the UserError that explains it. */
  async call<T>(schema: z.ZodType<T>, asked: GatewayRequest): Promise<T> {
    const { status, body } = await this.request(asked)
    if (status >= 400) {
      const problem = parseProblem(body)
      throw problem === undefined ? unexpected(this.url, `it answers ${status}`) : problemToUserError(problem)
    }
    const parsed = schema.safeParse(parseJson(body))
    if (!parsed.success) throw unexpected(this.url, 'its answer has another form; are both of one version?')
    return parsed.data
  }

  /** Emits a UserError as `error` when the gateway cannot be reached or trusted. */
  webSocket(path: string, headers: Readonly<Record<string, string>>, protocols: string[] = []): WebSocket {
    return new WebSocket(this.url.ws(path), protocols, {
      agent: this.#upgrades,
      headers,
      // Compression beside secrets leaks them by length.
      perMessageDeflate: false,
      followRedirects: false,
      maxPayload: MAX_MESSAGE_BYTES,
      handshakeTimeout: WEBSOCKET_TIMEOUT_MS,
    })
  }

  /** Ends idle and unfinished connections. Open WebSockets are their owner's to close. */
  close(): void {
    this.#requests.destroy()
    this.#upgrades.destroy()
  }

  #send({ method, path, headers, body }: GatewayRequest, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const options = { method, agent: this.#requests, headers: { ...headers, ...lengthOf(body) }, signal }
      request(this.url.http(path), options, resolve).on('error', reject).end(body)
    })
  }

  async #read(response: IncomingMessage): Promise<Uint8Array> {
    const chunks: Uint8Array[] = []
    let length = 0
    for await (const chunk of response as AsyncIterable<Uint8Array>) {
      length += chunk.length
      if (length > MAX_RESPONSE_BYTES) throw unexpected(this.url, 'its answer is too large')
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }
}

const lengthOf = (body: Uint8Array | string | undefined) =>
  body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }

const unexpected = (url: GatewayUrl, why: string): UserError =>
  new UserError({
    code: 'E_GATEWAY_ANSWER',
    message: `${url.origin} does not answer as a gateway does`,
    why,
    fix: "check the gateway's address",
  })
