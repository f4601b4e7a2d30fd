/** Secrets over a session: the same proof and the same signed answer as over HTTP, and in a crowd the same truth. */
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { fromUtf8, utf8 } from '../../crypto/bytes.ts'
import { openDelivery } from '../../crypto/delivery.ts'
import { answerTranscript, decodeGatewayProof, verifyGateway } from '../../crypto/gateway-proof.ts'
import { importSealingKey } from '../../crypto/hpke.ts'
import { AuditList } from '../../protocol/audit.ts'
import { GatewayKey } from '../../protocol/ids.ts'
import { MAX_ANSWER_VALUE_BYTES } from '../../protocol/limits.ts'
import { NodeSecretsReply } from '../../protocol/secrets.ts'
import { put, read } from './secret-support.ts'
import { admin, enrolled, migrate, type TestNode, type TestSession } from './support.ts'

beforeAll(migrate)

const PATH = '/v1/node/secrets'
const wanting = (...names: string[]): string => JSON.stringify({ secrets: names.map((name) => ({ name })) })

async function ask(session: TestSession, node: TestNode, body: string, signer = node, n = 7) {
  const { jwt, jti } = await signer.proof('POST', PATH, body)
  session.send({ type: 'request', n, path: PATH, proof: jwt, body })
  const answer = await session.next('answer')
  expect(answer.n).toBe(n)
  expect(await isSigned(jwt, answer)).toBe(true)
  return { ...answer, jwt, jti, code: (JSON.parse(answer.body) as { code?: string }).code }
}

async function isSigned(proof: string, answer: { status: number; body: string; signature: string }) {
  const signature = decodeGatewayProof(answer.signature)
  const key = GatewayKey.parse(JSON.parse(env.GATEWAY_SIGNING_KEY).x)
  const { status, body } = answer
  const transcript = await answerTranscript({ proof, status, body: utf8(body) })
  return signature !== undefined && (await verifyGateway(signature, transcript, [key])) !== undefined
}

async function values(node: TestNode, { body, jti }: { body: string; jti: string }): Promise<string[]> {
  const { fleet, items } = NodeSecretsReply.parse(JSON.parse(body))
  const key = await importSealingKey(node.sealing)
  return Promise.all(
    items.map(async ({ name, version, sealed }) => {
      const opened = await openDelivery(key, sealed, { fleet, name, version, request: jti })
      if (!opened.ok) throw new Error('not for us')
      return fromUtf8(opened.value.expose())
    }),
  )
}

const readsOf = async (name: string) => {
  const reply = await admin('GET', `/v1/audit?limit=1000&target=${encodeURIComponent(`secret:${name}`)}`)
  return AuditList.parse(await reply.json()).items.filter(({ action }) => action === 'secret.read')
}

describe('a secret over a session', () => {
  it('comes sealed to the node and its proof, signed, and is in the trail', async () => {
    const node = await enrolled('q-one')
    await put('q/one', 'first', '?allow-node=q-one')
    await put('q/two', 'second', '?allow-node=q-one')
    const session = await node.connect()
    const answer = await ask(session, node, wanting('q/two', 'q/one'))
    expect(answer.status).toBe(200)
    expect(await values(node, answer)).toEqual(['second', 'first'])
    expect(await readsOf('q/one')).toMatchObject([{ actor: `node:${node.id}`, outcome: 'allowed' }])
    session.close()
  })

  it('is refused with the code and the signature that it has over HTTP', async () => {
    const [node, other] = [await enrolled('q-no'), await enrolled('q-other')]
    await put('q/private', 'x', '?allow-node=q-other')
    await put('q/large', 'x'.repeat(MAX_ANSWER_VALUE_BYTES + 1), '?allow-node=q-no')
    const session = await node.connect()
    const refused = async (body: string, signer: TestNode = node) =>
      (await ask(session, node, body, signer)).code
    expect(await refused(wanting('q/private'))).toBe('E_SECRET_DENIED')
    expect(await refused(wanting('q/missing'))).toBe('E_SECRET_NOT_FOUND')
    expect(await refused(wanting('q/large'))).toBe('E_ANSWER_TOO_LARGE')
    expect(await read(node, ['q/large'])).toHaveLength(1)
    expect(await refused('{"secrets":[]}')).toBe('E_BODY_INVALID')
    expect(await refused('no JSON')).toBe('E_BODY_INVALID')
    expect(await refused(wanting('q/private'), other)).toBe('E_PROOF_SIGNATURE')
    expect((await readsOf('q/private')).map(({ outcome }) => outcome)).toEqual(['denied'])
    session.close()
  })

  it('costs a proof that is for it, and that no other request has used up', async () => {
    const node = await enrolled('q-proof')
    await put('q/proof', 'x', '?allow-node=q-proof')
    const session = await node.connect()
    const body = wanting('q/proof')
    const { jwt } = await ask(session, node, body)
    const again = async (proof: string, sent = body) => {
      session.send({ type: 'request', n: 1, path: PATH, proof, body: sent })
      const answer = await session.next('answer')
      expect(await isSigned(proof, answer)).toBe(true)
      return (JSON.parse(answer.body) as { code?: string }).code
    }
    expect(await again(jwt)).toBe('E_PROOF_REPLAYED')
    const elsewhere = await node.proof('POST', '/v1/node/identity', body)
    expect(await again(elsewhere.jwt)).toBe('E_PROOF_BINDING')
    const another = await node.proof('POST', PATH, wanting('q/another'))
    expect(await again(another.jwt)).toBe('E_PROOF_BINDING')
    expect(await again('no proof')).toBe('E_PROOF_MALFORMED')
    expect(await readsOf('q/proof')).toHaveLength(1)
    session.close()
  })

  it('is asked for on the paths that are meant for it, and after the session has begun', async () => {
    const node = await enrolled('q-path')
    const session = await node.connect()
    const { jwt } = await node.proof('POST', '/v1/secrets', '{}')
    session.send({ type: 'request', n: 1, path: '/v1/secrets', proof: jwt, body: '{}' })
    expect((await session.next('error')).code).toBe('E_FRAME_INVALID')
    session.close()
    const early = await node.open()
    early.send({ type: 'request', n: 1, path: PATH, proof: jwt, body: '{}' })
    expect((await early.next('error')).code).toBe('E_FRAME_OUT_OF_ORDER')
    early.close()
  })
})

describe('a new value', () => {
  it('reaches all who ask at once, each with an entry of its own and none of the value before', async () => {
    const nodes = await Promise.all(Array.from({ length: 24 }, (_, i) => enrolled(`q-crowd-${i}`)))
    const names = nodes.map((_, i) => `allow-node=q-crowd-${i}`).join('&')
    await put('q/crowd', 'old', `?${names}`)
    const sessions = await Promise.all(nodes.map((node) => node.connect()))
    const fetchAll = () =>
      Promise.all(
        nodes.map(async (node, i) => {
          const answer = await ask(sessions[i] as TestSession, node, wanting('q/crowd'))
          return (await values(node, answer))[0]
        }),
      )
    expect(new Set(await fetchAll())).toEqual(new Set(['old']))
    await put('q/crowd', 'new')
    await Promise.all(sessions.map((session) => session.next('secret_changed')))
    expect(new Set(await fetchAll())).toEqual(new Set(['new']))
    const entries = await readsOf('q/crowd')
    const versions = entries.map(({ actor, detail }) => `${actor} ${detail?.['version']}`)
    const expected = nodes.flatMap(({ id }) => [`node:${id} 1`, `node:${id} 2`])
    expect(versions.sort()).toEqual(expected.sort())
    for (const session of sessions) session.close()
  })
})
