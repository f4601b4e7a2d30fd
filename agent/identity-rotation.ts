/**
 * A new identity key in place of the old one. The new key is on disk before the gateway hears of it and replaces the old one only when the
 * gateway has taken it, so that at every moment one of the two on disk is the one the gateway knows.
 *
 *     identity.next.key written ──▶ gateway told ──▶ node.json names it ──▶ identity.next.key becomes identity.key
 *
 * Whatever is cut short is finished by whoever comes next: the agent before it dials, `exec` before it fetches.
 */
import type { Identity } from '../crypto/identity.ts'
import { UserError } from '../host/user-error.ts'
import type { JoinedNode } from './joined-node.ts'
import {
  discardNextIdentity,
  keepNextIdentity,
  loadKeys,
  loadNextIdentity,
  promoteNextIdentity,
} from './node-keys.ts'
import { updateNodeState } from './node-state.ts'

type RotatingNode = Pick<JoinedNode, 'directory' | 'keys' | 'client'>

/** @throws UserError if the gateway refuses, or is not there: then the rotation is finished later. */
export async function rotateIdentity(node: RotatingNode): Promise<void> {
  const next = await keepNextIdentity(node.directory)
  const refusal = await settle(node, next, [node.keys.identity, next])
  if (refusal !== undefined) throw refusal
}

/**
 * Ends a rotation that was cut short, if there is one. The answer may have been lost: the new key may be the one in force already.
 * @throws UserError if it cannot be known which of the two it is.
 */
export async function finishRotation(node: RotatingNode): Promise<void> {
  const next = await loadNextIdentity(node.directory)
  if (next !== undefined) await settle(node, next, [next, node.keys.identity, next])
}

/**
 * @param signers are tried in turn while the gateway says that it knows the node by another key.
 * @returns why the old key stays in force, if it does.
 */
async function settle(
  node: RotatingNode,
  next: Identity,
  [signer, ...others]: readonly Identity[],
): Promise<UserError | undefined> {
  if (signer === undefined) return adoptFromDisk(node)
  try {
    await node.client.rotateIdentity(next, signer)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    if (error.code === 'E_PROOF_SIGNATURE') return settle(node, next, others)
    if (!REFUSED.has(error.code)) throw error
    discardNextIdentity(node.directory)
    return error
  }
  updateNodeState(node.directory, (state) => ({ ...state, identity: next.publicKey }))
  promoteNextIdentity(node.directory)
  node.keys.identity = next
  return undefined
}

/** Of a gateway that knows the node by the key that asked, and will not know it by the next one. */
const REFUSED: ReadonlySet<string> = new Set(['E_ROTATION_NOT_ASKED', 'E_KEY_IN_USE', 'E_ENROL_INVALID'])

/** The gateway knows neither key. Another command may have ended the rotation with a key of its own, which is on disk by now. */
async function adoptFromDisk({ directory, keys }: RotatingNode): Promise<undefined> {
  const { identity } = await loadKeys(directory)
  keys.identity = identity
}
