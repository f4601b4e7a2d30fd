/**
 * The running agent's socket in the state directory, for `clawnode status`. It is also what keeps a second agent from running on the
 * same directory: whoever answers on it is the one.
 */
import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createConnection } from 'node:net'
import { EXIT, UserError } from '../host/user-error.ts'
import { type AgentStatus, socketPath } from './local-status.ts'

export class LocalApi {
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /** @throws UserError if an agent runs on this directory already. */
  static async listen(directory: string, status: () => Promise<AgentStatus>): Promise<LocalApi> {
    const path = socketPath(directory)
    if (await answers(path)) throw alreadyRunning(directory)
    rmSync(path, { force: true })
    const server = createServer((request, response) => {
      if (request.method !== 'GET' || request.url !== '/status') return response.writeHead(404).end()
      status().then(
        (body) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
        () => response.writeHead(500).end(),
      )
    })
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
    // Until here the directory, which is 0700, kept others out.
    chmodSync(path, 0o600)
    return new LocalApi(server)
  }

  /** Also removes the socket file. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(path)
    probe.once('connect', () => resolve(true)).once('error', () => resolve(false))
    probe.once('connect', () => probe.destroy())
  })
}

const alreadyRunning = (directory: string): UserError =>
  new UserError({
    code: 'E_ALREADY_RUNNING',
    message: `an agent runs on ${directory} already`,
    fix: 'look at it with `clawnode status`, or stop it first',
    exitCode: EXIT.conflict,
  })
