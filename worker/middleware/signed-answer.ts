/**
 * The gateway's signature on each answer to a request that carries a node's proof, refusals and failures included: the node acts on its word
 * alone, not on that of whoever shows a certificate. Stands outermost, because the error boundary answers inside of it.
 */
import { createMiddleware } from 'hono/factory'
import { utf8 } from '../../crypto/bytes.ts'
import { signAnswer } from '../../crypto/gateway-proof.ts'
import { proofOf } from '../../crypto/request-proof.ts'
import { ANSWER_SIGNATURE_HEADER } from '../../protocol/proof.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'

export const signedAnswer = createMiddleware<GatewayEnv>(async function signedAnswer(c, next) {
  await next()
  const proof = proofOf(c.req.header('authorization'))
  // A 101 is followed by `registered`, which has a signature of its own; without a configuration there is no key to sign with.
  if (proof === undefined || c.res.status === 101 || c.get('config') === undefined) return
  if (c.res !== c.get('signed')) await sign(c, proof)
})

/** A reply that is signed while its body is at hand: reading it back out of the response costs as much as the signature. */
export async function signedReply(c: GatewayContext, reply: object): Promise<Response> {
  const body = utf8(JSON.stringify(reply))
  const proof = proofOf(c.req.header('authorization')) ?? ''
  const signature = await signAnswer(c.get('config').signing, { proof, status: 200, body })
  const headers = { 'content-type': 'application/json', [ANSWER_SIGNATURE_HEADER]: signature }
  const signed = new Response(body, { headers })
  c.set('signed', signed)
  return signed
}

async function sign(c: GatewayContext, proof: string): Promise<void> {
  const { status, headers } = c.res
  const body = new Uint8Array(await c.res.arrayBuffer())
  const signature = await signAnswer(c.get('config').signing, { proof, status, body })
  const signed = new Response(body, { status, headers })
  signed.headers.set(ANSWER_SIGNATURE_HEADER, signature)
  c.res = undefined
  c.res = signed
}
