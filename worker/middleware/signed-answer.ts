/**
 * The gateway's signature on each answer to a request that carries a node's proof, refusals and failures included: the node acts on its word
 * alone, not on that of whoever shows a certificate. Stands outermost, because the error boundary answers inside of it.
 */
import { createMiddleware } from 'hono/factory'
import { answerTranscript, encodeGatewayProof, signAsGateway } from '../../crypto/gateway-proof.ts'
import { proofOf } from '../../crypto/request-proof.ts'
import { ANSWER_SIGNATURE_HEADER } from '../../protocol/proof.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'

export const signedAnswer = createMiddleware<GatewayEnv>(async function signedAnswer(c, next) {
  await next()
  const proof = proofOf(c.req.header('authorization'))
  // A 101 is followed by `registered`, which has a signature of its own; without a configuration there is no key to sign with.
  if (proof === undefined || c.res.status === 101 || c.get('config') === undefined) return
  await sign(c, proof)
})

async function sign(c: GatewayContext, proof: string): Promise<void> {
  const { status, headers } = c.res
  const body = new Uint8Array(await c.res.arrayBuffer())
  const signature = await signAsGateway(c.var.config.signing, await answerTranscript({ proof, status, body }))
  const signed = new Response(body, { status, headers })
  signed.headers.set(ANSWER_SIGNATURE_HEADER, encodeGatewayProof(signature))
  c.res = undefined
  c.res = signed
}
