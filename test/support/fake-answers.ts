/** What the fake gateway answers, signed as the real one signs; the transcript is made here anew, by what docs/protocol.md says of it. */
import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { type GatewaySigner, signAsGateway } from '../../crypto/gateway-proof.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { PROOF_SCHEME } from '../../protocol/proof.ts'

export interface FakeAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export const jsonAnswer = (status: number, value: unknown): FakeAnswer => ({
  status,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
})

export const problemAnswer = (code: ErrorCode, time: number, detail?: string): FakeAnswer => {
  const { status, title } = ERRORS[code]
  return jsonAnswer(status, { type: 'about:blank', title, status, code, detail, requestId: 'req_test', time })
}

/** With the gateway's signature, if the request carried a proof. */
export async function signAnswer(
  answer: FakeAnswer,
  authorization: string,
  signer: GatewaySigner,
): Promise<FakeAnswer> {
  const [scheme, proof = ''] = authorization.split(' ')
  if (scheme !== PROOF_SCHEME) return answer
  const parts = ['claw-answer v1', sha256(proof), String(answer.status), sha256(answer.body)]
  const signature = JSON.stringify(await signAsGateway(signer, Buffer.concat(parts.map(prefixed))))
  const header = Buffer.from(signature).toString('base64url')
  return { ...answer, headers: { ...answer.headers, 'claw-signature': header } }
}

export function sendAnswer(response: ServerResponse, { status, headers, body }: FakeAnswer): void {
  response.writeHead(status, headers).end(body)
}

/** In place of an upgrade. A length that the answer gives itself is a promise that may not be kept. */
export function sendRefusal(socket: Duplex, { status, headers, body }: FakeAnswer): void {
  const length = String(Buffer.byteLength(body))
  const { 'content-length': promised = length, ...others } = headers
  const lines = Object.entries({ ...others, connection: 'close', 'content-length': promised })
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.write(`HTTP/1.1 ${status} Refused\r\n${head}\r\n${body}`)
  if (promised === length) socket.end()
}

/** Without the gateway's signature: what anybody can answer who has a certificate. */
export function unsigned({ headers, ...answer }: FakeAnswer): FakeAnswer {
  const { 'claw-signature': _, ...others } = headers
  return { ...answer, headers: others }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url')

function prefixed(part: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(Buffer.byteLength(part))
  return Buffer.concat([length, Buffer.from(part)])
}
