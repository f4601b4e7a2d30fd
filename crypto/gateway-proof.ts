/**
 * The gateway's own signatures, above TLS: a node learns the gateway's Ed25519 key with its join token, and from then on whoever answers
 * must hold that key, whatever certificate they have. A successor is announced in advance, signed by the key in force.
 */

import { type CryptoKey, importJWK } from 'jose'
import { GatewayProof } from '../protocol/frames.ts'
import type { FleetId, GatewayKey, NodeId } from '../protocol/ids.ts'
import { parseJson } from '../protocol/json.ts'
import { fromBase64Url, lengthPrefixed, toBase64Url, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'
import { bodyHash } from './identity.ts'

/** What both ends know of a session that begins; signed, it can be neither replayed nor passed off as another node's. */
export interface SessionTranscript {
  readonly fleet: FleetId
  readonly node: NodeId
  /** `jti` of the upgrade's proof, which the node drew for this session. */
  readonly proof: string
  readonly generation: number
  readonly protocol: number
  readonly time: number
  /** How long the node may use the map after this gateway was last heard: whoever is in between must not give it longer. */
  readonly leaseMs: number
}

export const sessionTranscript = (session: SessionTranscript): Uint8Array =>
  lengthPrefixed(
    DOMAIN.session,
    session.fleet,
    session.node,
    session.proof,
    String(session.generation),
    String(session.protocol),
    String(session.time),
    String(session.leaseMs),
  )

/** An enrolment's answer without its signature, bound to the request (SHA-256 of the JWS, base64url) it answers. */
export const enrolmentTranscript = (
  requestHash: string,
  reply: Readonly<Record<string, unknown>>,
): Uint8Array =>
  lengthPrefixed(
    DOMAIN.enrolment,
    requestHash,
    ...Object.keys(reply)
      .filter((key) => key !== 'gateway')
      .sort()
      .flatMap((key) => [key, JSON.stringify(reply[key])]),
  )

/** An answer to a request that a node has signed. */
export interface ProvenAnswer {
  /** The request's proof, all of it: an attacker can sign another with the same `jti` and be refused in earnest, but not this very JWT. */
  readonly proof: string
  readonly status: number
  readonly body: Uint8Array
}

export const answerTranscript = async ({ proof, status, body }: ProvenAnswer): Promise<Uint8Array> =>
  lengthPrefixed(DOMAIN.answer, await bodyHash(utf8(proof)), String(status), await bodyHash(body))

/** Who signs the checkpoints of this log; a successor is announced beside the signature. */
export const auditKeyTranscript = (origin: string): Uint8Array => lengthPrefixed(DOMAIN.auditKey, origin)

const successorTranscript = (key: GatewayKey): Uint8Array => lengthPrefixed(DOMAIN.successor, key)

export interface GatewaySigner {
  readonly key: GatewayKey
  readonly privateKey: CryptoKey
  readonly next: GatewayKey | undefined
}

export async function signAsGateway(signer: GatewaySigner, transcript: Uint8Array): Promise<GatewayProof> {
  const signature = await sign(signer.privateKey, transcript)
  if (signer.next === undefined) return { key: signer.key, signature }
  const next = {
    key: signer.next,
    signature: await sign(signer.privateKey, successorTranscript(signer.next)),
  }
  return { key: signer.key, signature, next }
}

/**
 * Checks what claims to come from the gateway.
 * @param known the keys this node accepts: the one in force, and a successor it was told of.
 * @returns the keys to accept from now on, or undefined if it is not the gateway.
 */
export async function verifyGateway(
  proof: GatewayProof,
  transcript: Uint8Array,
  known: readonly GatewayKey[],
): Promise<readonly GatewayKey[] | undefined> {
  if (!known.includes(proof.key) || !(await verify(proof.key, proof.signature, transcript))) return undefined
  if (proof.next === undefined) return [proof.key]
  const announced = await verify(proof.key, proof.next.signature, successorTranscript(proof.next.key))
  return announced ? [proof.key, proof.next.key] : undefined
}

/** The signature of an answer, as its header carries it, or its frame. */
export const signAnswer = async (signer: GatewaySigner, answer: ProvenAnswer): Promise<string> =>
  encodeGatewayProof(await signAsGateway(signer, await answerTranscript(answer)))

export const encodeGatewayProof = (proof: GatewayProof): string => toBase64Url(utf8(JSON.stringify(proof)))

/** Undefined if the header's text is anything else. */
export function decodeGatewayProof(header: string): GatewayProof | undefined {
  const bytes = fromBase64Url(header)
  return bytes && GatewayProof.safeParse(parseJson(bytes)).data
}

async function sign(key: CryptoKey, message: Uint8Array): Promise<string> {
  return toBase64Url(new Uint8Array(await crypto.subtle.sign('Ed25519', key, new Uint8Array(message))))
}

async function verify(key: GatewayKey, signature: string, message: Uint8Array): Promise<boolean> {
  const bytes = fromBase64Url(signature)
  if (bytes?.length !== 64) return false
  const imported = (await importJWK({ kty: 'OKP', crv: 'Ed25519', x: key }, 'EdDSA')) as CryptoKey
  return crypto.subtle.verify('Ed25519', imported, new Uint8Array(bytes), new Uint8Array(message))
}
