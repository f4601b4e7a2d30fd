/**
 * A node's answer to a question about its mesh, sealed to the one that asked: it says where nodes are, which the gateway that carries it
 * need not know. HPKE's auth mode, with the node's own sealing key, so that nobody on the way can answer in its place.
 */
import type { FleetId, NodeId, SealingKey } from '../protocol/ids.ts'
import { MeshAnswer } from '../protocol/mesh-report.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { fromBase64Url, fromUtf8, lengthPrefixed, toBase64Url, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'
import { hpkeOpen, hpkeSeal, type importSealingKey } from './hpke.ts'

type PrivateKey = Awaited<ReturnType<typeof importSealingKey>>

interface Question {
  readonly fleet: FleetId
  readonly node: NodeId
  /** Chosen by the one that asks, for this one question. */
  readonly request: string
}

export const sealMeshAnswer = async (
  to: SealingKey,
  answer: MeshAnswer,
  question: Question,
  node: PrivateKey,
): Promise<string> => toBase64Url(await hpkeSeal(to, utf8(JSON.stringify(answer)), context(question), node))

export async function openMeshAnswer(
  key: PrivateKey,
  sealed: string,
  question: Question,
  node: SealingKey,
): Promise<Result<MeshAnswer, 'corrupt'>> {
  const box = fromBase64Url(sealed)
  if (box === undefined) return err('corrupt')
  const opened = await hpkeOpen(key, box, context(question), node)
  if (!opened.ok) return opened
  try {
    const answer = MeshAnswer.safeParse(JSON.parse(fromUtf8(opened.value.expose())))
    return answer.success ? ok(answer.data) : err('corrupt')
  } catch {
    return err('corrupt')
  }
}

const context = ({ fleet, node, request }: Question) => ({
  info: utf8(DOMAIN.meshAnswer),
  aad: lengthPrefixed(fleet, node, request),
})
