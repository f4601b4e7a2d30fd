/** What the node knows of itself and its gateway once it has joined: `node.json` in the state directory. */
import { join } from 'node:path'
import * as z from 'zod'
import { readPrivateFile, writePrivateFile } from '../host/private-file.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { EnrolReply } from '../protocol/http.ts'
import { GatewayKey, IdentityKey } from '../protocol/ids.ts'
import { parseJson } from '../protocol/json.ts'

export const STATE_FILE = 'node.json'

/** Unknown fields are refused: a misspelled one would otherwise be a setting that is silently not there. */
export const NodeState = z.strictObject({
  version: z.literal(1),
  gateway: z.strictObject({
    url: z.string(),
    /** PEM. Absent if the gateway's certificate comes from a public authority. */
    ca: z.string().optional(),
    pins: z.array(z.string()),
    /** The gateway's own keys: the one in force, and a successor it has announced. */
    keys: z.array(GatewayKey).min(1),
  }),
  /** The public half of identity.key: a node's id follows from its first key only. */
  identity: IdentityKey,
  node: z.strictObject(EnrolReply.shape).omit({ gateway: true }),
})
export type NodeState = z.infer<typeof NodeState>

/** Undefined if this directory was never joined. */
export function findNodeState(directory: string): NodeState | undefined {
  const content = readPrivateFile(join(directory, STATE_FILE))
  if (content === undefined) return undefined
  const parsed = NodeState.safeParse(parseJson(content))
  if (parsed.success) return parsed.data
  const where = parsed.error.issues[0]?.path.join('.')
  throw new UserError({
    code: 'E_STATE_INVALID',
    message: `${join(directory, STATE_FILE)} is not a node's state`,
    why: where ? `look at ${where}` : 'it is not JSON of the expected form',
    fix: 'restore it, or remove it and join again: the keys beside it make it the same node',
    exitCode: EXIT.badConfig,
  })
}

export function readNodeState(directory: string): NodeState {
  const state = findNodeState(directory)
  if (state !== undefined) return state
  throw new UserError({
    code: 'E_NOT_JOINED',
    message: `no node has joined from ${directory}`,
    fix: 'clawnode join --gateway URL --token-file FILE',
    exitCode: EXIT.badConfig,
  })
}

export function writeNodeState(directory: string, state: NodeState): void {
  writePrivateFile(join(directory, STATE_FILE), `${JSON.stringify(state, undefined, 2)}\n`)
}

/** Reads it anew before it writes: another command may have changed it meanwhile. */
export function updateNodeState(directory: string, change: (state: NodeState) => NodeState): void {
  writeNodeState(directory, change(readNodeState(directory)))
}
