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

/** @throws UserError if the gateway refuses, or is not there: the rotation is then finished later. */
export async function rotateIdentity(node: RotatingNode): Promise<void> {
  const next = await keepNextIdentity(node.directory)
  await settle(node, next, [node.keys.identity, next])
}

/** Ends a rotation that was cut short, if there is one. The answer may have been lost: the new key may be the one in force already. */
export async function finishRotation(node: RotatingNode): Promise<void> {
  const next = await loadNextIdentity(node.directory)
  if (next !== undefined) await settle(node, next, [next, node.keys.identity, next])
}

/** @param signers are tried in turn while the gateway says that it knows the node by another key. */
async function settle(node: RotatingNode, next: Identity, signers: readonly Identity[]): Promise<void> {
  const [signer, ...others] = signers
  if (signer === undefined) return abandon(node)
  try {
    await node.client.rotateIdentity(next, signer)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    if (error.code === 'E_PROOF_SIGNATURE') return settle(node, next, others)
    if (FINAL.has(error.code)) discardNextIdentity(node.directory)
    throw error
  }
  updateNodeState(node.directory, (state) => ({ ...state, identity: next.publicKey }))
  promoteNextIdentity(node.directory)
  node.keys.identity = next
}

/** Refusals that no second attempt would change. */
const FINAL: ReadonlySet<string> = new Set(['E_KEY_IN_USE', 'E_ENROL_INVALID'])

/** The gateway knows neither key. Another command may have ended the rotation with a key of its own; that one is on disk. */
async function abandon({ directory, keys }: RotatingNode): Promise<void> {
  const { identity } = await loadKeys(directory)
  keys.identity = identity
}
