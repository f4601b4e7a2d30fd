/**
 * The running agent's socket in the state directory, for `clawnode status`, `rotate-identity` and `rotate-wireguard`, for jobs that want to hear of changed
 * secrets and ask for them over its session, and the lock that keeps a second agent from running on the same directory.
 */
import { chmodSync, rmSync } from 'node:fs'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { join } from 'node:path'
import * as z from 'zod'
import { type ProcessLock, takeProcessLock } from '../host/process-lock.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { RequestFrame } from '../protocol/frames.ts'
import { SecretName } from '../protocol/ids.ts'
import { parseJson } from '../protocol/json.ts'
import { MAX_FRAME_BYTES, MAX_SECRETS_PER_FETCH } from '../protocol/limits.ts'
import { CARRY_PATH } from './carried-request.ts'
import { type AgentStatus, type Failure, socketPath } from './local-status.ts'
import { NOTICES_PATH, type SecretNotice } from './secrets/secret-notices.ts'
import type { CarriedAnswer, CarriedRequest } from './session/session-requests.ts'

interface Agent {
  status(): Promise<AgentStatus>
  rotateIdentity(): Promise<void>
  rotateWireguard(): Promise<void>
  carry(request: CarriedRequest): Promise<CarriedAnswer | undefined>
  watchSecrets(names: readonly SecretName[], tell: (notice: SecretNotice) => void): () => void
}

export const LOCK_FILE = 'agent.lock'

/** Whoever has it knows that no agent runs on the directory, and that none starts. Undefined if one runs. */
export const takeAgentLock = (directory: string): ProcessLock | undefined =>
  takeProcessLock(join(directory, LOCK_FILE))

export class LocalApi {
  readonly #server: Server
  readonly #lock: ProcessLock

  private constructor(server: Server, lock: ProcessLock) {
    this.#server = server
    this.#lock = lock
  }

  /**
   * @param agent is waited for: asked before the mesh is up, it is not there yet, and the caller tries again.
   * @throws UserError if an agent runs on this directory already.
   */
  static async listen(directory: string, agent: Promise<Agent>): Promise<LocalApi> {
    const path = socketPath(directory)
    const lock = takeAgentLock(directory)
    if (lock === undefined) throw alreadyRunning(directory)
    try {
      // Whoever left it there runs no more.
      rmSync(path, { force: true })
      const server = createServer(routes(agent))
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
      // Until here the directory, which is 0700, kept others out.
      chmodSync(path, 0o600)
      return new LocalApi(server, lock)
    } catch (error) {
      lock.close()
      throw error
    }
  }

  /** Also removes the socket file. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
    this.#lock.close()
  }
}

function routes(agent: Promise<Agent>): RequestListener {
  const actions: Readonly<Record<string, (request: IncomingMessage) => Promise<unknown>>> = {
    'GET /status': async () => (await agent).status(),
    'POST /rotate-identity': async () => (await agent).rotateIdentity(),
    'POST /rotate-wireguard': async () => (await agent).rotateWireguard(),
    [`POST ${CARRY_PATH}`]: async (request) => {
      const carried = Carried.parse(parseJson(await readAll(request)))
      return (await (await agent).carry(carried)) ?? null
    },
  }
  return (request, response) => {
    const target = request.url ?? '/'
    if (!URL.canParse(target, 'http://agent')) return response.writeHead(404).end()
    const { pathname, searchParams } = new URL(target, 'http://agent')
    const route = `${request.method} ${pathname}`
    if (route === `GET ${NOTICES_PATH}`) return void notify(agent, searchParams.getAll('name'), response)
    const action = actions[route]
    if (action === undefined) return response.writeHead(404).end()
    const answer = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    action(request).then(
      (body) => answer(200, body === undefined ? {} : body),
      (error: unknown) => answer(500, failure(error)),
    )
  }
}

const Carried = RequestFrame.omit({ type: true, n: true })

/** What fits no frame is not carried, nor kept. */
async function readAll(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= MAX_FRAME_BYTES) chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** A line of JSON for each notice, for as long as somebody listens. */
async function notify(
  agent: Promise<Agent>,
  texts: readonly string[],
  response: ServerResponse,
): Promise<void> {
  const names = WatchedNames.safeParse(texts)
  if (!names.success) return void response.writeHead(400).end()
  const running = await agent
  if (response.destroyed) return
  const stop = running.watchSecrets(names.data, (notice) => response.write(`${JSON.stringify(notice)}\n`))
  response.once('close', stop)
  response.writeHead(200, { 'content-type': 'application/x-ndjson' }).flushHeaders()
}

const WatchedNames = z.array(SecretName).min(1).max(MAX_SECRETS_PER_FETCH)

const failure = (error: unknown): Failure => {
  const { code, message, why, fix, exitCode } =
    error instanceof UserError ? error : new UserError({ code: 'E_BUG', message: String(error) })
  return { code, message, exitCode, ...(why !== undefined && { why }), ...(fix !== undefined && { fix }) }
}

export const alreadyRunning = (directory: string): UserError =>
  new UserError({
    code: 'E_ALREADY_RUNNING',
    message: `an agent runs on ${directory} already`,
    fix: 'look at it with `clawnode status`, or stop it first',
    exitCode: EXIT.conflict,
  })
