/** Questions to nodes about their mesh: each with a key of its own, to which the node seals what the gateway that carries it need not know. */
import { randomId } from '../../crypto/bytes.ts'
import { importSealingKey } from '../../crypto/hpke.ts'
import { openMeshAnswer } from '../../crypto/mesh-answer.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { type NodeId, type NodeName, SealingKey } from '../../protocol/ids.ts'
import type { MeshAnswerReply } from '../../protocol/mesh-http.ts'
import type { MeshAnswer, MeshPing, MeshRefusal, MeshReport } from '../../protocol/mesh-report.ts'
import type { AdminClient } from '../admin-client.ts'

interface Asker {
  readonly sealTo: SealingKey
  readonly request: string
}

/** All pairs of a node, page by page. */
export async function askReport(
  client: Pick<AdminClient, 'meshReport'>,
  node: NodeName,
): Promise<Pick<MeshReport, 'open' | 'pairs'>> {
  const pairs: MeshReport['pairs'] = []
  let after: NodeId | undefined
  for (;;) {
    const from = after
    const answer = await ask(node, (asker) =>
      client.meshReport({ node, ...asker, ...(from !== undefined && { after: from }) }),
    )
    if (answer.kind !== 'report') throw wrongAnswer(node)
    pairs.push(...answer.pairs)
    const { next, open } = answer
    if (next === undefined) return { open, pairs }
    // A node that does not get on would be asked for ever.
    if (after !== undefined && next <= after) throw wrongAnswer(node)
    after = next
  }
}

export async function askPing(
  client: Pick<AdminClient, 'meshPing'>,
  from: NodeName,
  to: NodeName,
): Promise<MeshPing | MeshRefusal> {
  const answer = await ask(from, (asker) => client.meshPing({ from, to, ...asker }))
  if (answer.kind === 'report') throw wrongAnswer(from)
  return answer
}

async function ask(name: NodeName, send: (asker: Asker) => Promise<MeshAnswerReply>): Promise<MeshAnswer> {
  using secret = generateX25519()
  const request = randomId()
  const key = await importSealingKey(secret)
  const { fleet, node, sealed } = await send({
    sealTo: SealingKey.parse(await x25519PublicKey(secret)),
    request,
  })
  const opened = await openMeshAnswer(key, sealed, { fleet, node: node.id, request }, node.sealing)
  if (!opened.ok) throw wrongAnswer(name)
  return opened.value
}

const wrongAnswer = (node: NodeName): UserError =>
  new UserError({
    code: 'E_MESH_ANSWER',
    message: `what came back is not an answer of ${node}`,
    why: 'it is not sealed by that node for this question, or the node runs another version',
    exitCode: EXIT.failure,
  })
