/** Ways to give an answer that the gateway did not give to this request, each with the code by which the agent refuses it. */
import { decodeJwt, SignJWT } from 'jose'
import type { GatewaySigner } from '../../crypto/gateway-proof.ts'
import { type FakeAnswer, signAnswer } from '../support/fake-answers.ts'
import { createSigner } from '../support/fake-gateway.ts'

interface Scene {
  /** What the attacker wants to be believed. */
  readonly wanted: FakeAnswer
  /** What the gateway has answered. */
  readonly genuine: FakeAnswer
  /** The request's proof. */
  readonly authorization: string
  readonly signer: GatewaySigner
}

export type Forge = (scene: Scene) => FakeAnswer | Promise<FakeAnswer>

export const FORGERIES: readonly (readonly [how: string, code: string, forge: Forge])[] = [
  ['without a signature', 'E_GATEWAY_UNREACHABLE', ({ wanted }) => wanted],
  [
    'signed by another key',
    'E_GATEWAY_KEY',
    async ({ wanted, authorization }) => signAnswer(wanted, authorization, await createSigner()),
  ],
  [
    'signed by another key that is called the gateway’s',
    'E_GATEWAY_KEY',
    async ({ wanted, authorization, signer: { key } }) =>
      signAnswer(wanted, authorization, { ...(await createSigner()), key }),
  ],
  [
    'signed by the gateway for another proof',
    'E_GATEWAY_KEY',
    ({ wanted, signer }) => signAnswer(wanted, 'Claw another', signer),
  ],
  [
    'signed by the gateway for a proof of the same id',
    'E_GATEWAY_KEY',
    async ({ wanted, authorization, signer }) =>
      signAnswer(wanted, `Claw ${await proofWithSameId(authorization)}`, signer),
  ],
  [
    'under the signature of what the gateway has said',
    'E_GATEWAY_KEY',
    ({ wanted, genuine }) => ({ ...wanted, headers: genuine.headers }),
  ],
  [
    'signed by the gateway with another status',
    'E_GATEWAY_KEY',
    async ({ wanted, authorization, signer }) => ({
      ...(await signAnswer(wanted, authorization, signer)),
      status: 418,
    }),
  ],
  [
    'with a signature that is none',
    'E_GATEWAY_KEY',
    ({ wanted }) => ({ ...wanted, headers: { ...wanted.headers, 'claw-signature': 'x' } }),
  ],
]

/** Of a node of the attacker's own, with the id of the proof that was sent. */
async function proofWithSameId(authorization: string): Promise<string> {
  const jti = String(decodeJwt(authorization.slice('Claw '.length)).jti)
  const { privateKey } = await createSigner()
  return new SignJWT({ jti }).setProtectedHeader({ alg: 'EdDSA', typ: 'claw-proof+jwt' }).sign(privateKey)
}
