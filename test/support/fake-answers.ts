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

export const problemAnswer = (code: ErrorCode, time: number): FakeAnswer => {
  const { status, title } = ERRORS[code]
  return jsonAnswer(status, { type: 'about:blank', title, status, code, requestId: 'req_test', time })
}

/** With the gateway's signature, if the request carried a proof. */
export async function signAnswer(
  answer: FakeAnswer,
  authorization: string | undefined,
  signer: GatewaySigner,
): Promise<FakeAnswer> {
  const [scheme, proof = ''] = (authorization ?? '').split(' ')
  if (scheme !== PROOF_SCHEME) return answer
  const parts = ['claw-answer v1', sha256(proof), String(answer.status), sha256(answer.body)]
  const signature = JSON.stringify(await signAsGateway(signer, Buffer.concat(parts.map(prefixed))))
  const header = Buffer.from(signature).toString('base64url')
  return { ...answer, headers: { ...answer.headers, 'claw-signature': header } }
}

export function sendAnswer(response: ServerResponse, { status, headers, body }: FakeAnswer): void {
  response.writeHead(status, headers).end(body)
}

/** In place of an upgrade. */
export function sendRefusal(socket: Duplex, { status, headers, body }: FakeAnswer): void {
  const lines = Object.entries({ ...headers, connection: 'close', 'content-length': Buffer.byteLength(body) })
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.end(`HTTP/1.1 ${status} Refused\r\n${head}\r\n${body}`)
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url')

function prefixed(part: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(Buffer.byteLength(part))
  return Buffer.concat([length, Buffer.from(part)])
}
