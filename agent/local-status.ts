/** What a running agent says of itself on its local socket, and how to ask it and tell it to. */
import { request } from 'node:http'
import { join } from 'node:path'
import * as z from 'zod'
import { EXIT, UserError } from '../host/user-error.ts'

export const SOCKET_FILE = 'agent.sock'
/** `sun_path` holds 104 bytes with its final NUL on macOS, 108 on Linux. */
const MAX_SOCKET_PATH_BYTES = 103
const TIMEOUT_MS = 5_000
/** The agent asks the gateway, and perhaps twice. */
const ROTATION_TIMEOUT_MS = 70_000

const Peer = z.object({
  id: z.string(),
  name: z.string(),
  ipv4: z.string(),
  ipv6: z.string(),
  endpoint: z.string().nullable(),
  path: z.string(),
  latencyMs: z.number().nullable(),
  /** Why there is no direct path. */
  reason: z.string().nullable(),
  hint: z.string().nullable(),
  lastHandshake: z.iso.datetime().nullable(),
  rxBytes: z.number(),
  txBytes: z.number(),
})

/** See NamesStatus in dns/mesh-names.ts. */
const Names = z.object({
  domain: z.string().nullable(),
  server: z.boolean(),
  by: z.string().nullable(),
  problem: z.string().nullable(),
})

const Route = z.object({
  network: z.string(),
  by: z.string().nullable(),
  /** Why it is not in use; null if it is. */
  problem: z.string().nullable(),
})

const Mesh = z.object({
  backend: z.string().nullable(),
  /** Why the interface is not as it should be. */
  problem: z.string().nullable(),
  /** Null if none are served here. */
  names: Names.nullable(),
  /** Networks behind this node (`by` is null) and others. */
  routes: z.array(Route),
})

const Problem = z.object({ code: z.string(), message: z.string(), fix: z.string().nullable() })

/** What this node has seen of the audit trail, as its witness. */
const Audit = z.object({
  /** Of the newest checkpoint that it believes; null before the first. */
  entries: z.int().nullable(),
  at: z.iso.datetime().nullable(),
  problem: Problem.nullable(),
})

export const AgentStatus = z.object({
  id: z.string(),
  name: z.string(),
  session: z.enum(['connected', 'connecting', 'offline', 'quarantined', 'stopped']),
  /** Since when it is connected, or since when it is not. Null if no agent runs. */
  since: z.iso.datetime().nullable(),
  problem: Problem.nullable(),
  gateway: z.string(),
  ipv4: z.string(),
  ipv6: z.string(),
  /** Null if no agent runs. */
  audit: Audit.nullable(),
  /** Both null without a mesh; no interface while the node is in quarantine. */
  interface: z.string().nullable(),
  mesh: Mesh.nullable(),
  peers: z.array(Peer),
})
export type AgentStatus = z.infer<typeof AgentStatus>

export function socketPath(directory: string): string {
  const path = join(directory, SOCKET_FILE)
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) return path
  throw new UserError({
    code: 'E_DIRECTORY_TOO_LONG',
    message: `the path of the state directory is too long for a socket in it`,
    why: `${path} has more than ${MAX_SOCKET_PATH_BYTES} bytes`,
    fix: 'choose a shorter --dir',
    exitCode: EXIT.badConfig,
  })
}

/** Why the agent could not do what it was told to. */
const Failure = z.object({
  code: z.string(),
  message: z.string(),
  why: z.string().optional(),
  fix: z.string().optional(),
  exitCode: z.int(),
})
export type Failure = z.infer<typeof Failure>

/** Undefined if no agent runs on this directory. */
export const askAgent = (directory: string): Promise<AgentStatus | undefined> =>
  callAgent(directory, 'GET', '/status', AgentStatus, TIMEOUT_MS)

/** False if no agent runs on this directory. @throws UserError if it cannot, with its own reason. */
export async function tellAgentToRotate(directory: string): Promise<boolean> {
  const done = await callAgent(directory, 'POST', '/rotate-identity', z.object({}), ROTATION_TIMEOUT_MS)
  return done !== undefined
}

/** Likewise. Peers that do not answer are waited for a minute. */
export async function tellAgentToRotateWireguard(directory: string): Promise<boolean> {
  const done = await callAgent(directory, 'POST', '/rotate-wireguard', z.object({}), 2 * ROTATION_TIMEOUT_MS)
  return done !== undefined
}

/** Undefined if no agent runs on this directory. @throws UserError if it cannot, with its own reason, or is not understood. */
export function callAgent<T>(
  directory: string,
  method: string,
  path: string,
  schema: z.ZodType<T>,
  timeout: number,
  body?: object,
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: socketPath(directory), method, path, timeout }, async (response) => {
      try {
        const chunks: Buffer[] = []
        for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
        const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
        if (response.statusCode === 200) return resolve(schema.parse(body))
        const { why, fix, ...failure } = Failure.parse(body)
        reject(new UserError({ ...failure, why, fix }))
      } catch {
        reject(unreadable('it runs another version, or is not the agent'))
      }
    })
    asked.on('timeout', () => asked.destroy(unreadable('it does not answer')))
    asked.on('error', (error: NodeJS.ErrnoException) => {
      // A socket nobody listens on is what `kill -9` leaves.
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return resolve(undefined)
      reject(error instanceof UserError ? error : unreadable(error.code ?? error.message))
    })
    asked.end(body && JSON.stringify(body))
  })
}

const unreadable = (why: string): UserError =>
  new UserError({
    code: 'E_AGENT_SILENT',
    message: 'an agent runs here, but it cannot be understood',
    why,
    fix: 'restart it',
    exitCode: EXIT.degraded,
  })
