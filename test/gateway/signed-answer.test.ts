/** What the gateway answers to a node's signed request has its signature, for that request; nothing else has. */
import { createExecutionContext, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { fromBase64Url, utf8 } from '../../crypto/bytes.ts'
import { answerTranscript, decodeGatewayProof, verifyGateway } from '../../crypto/gateway-proof.ts'
import { Identity } from '../../crypto/identity.ts'
import { AUDIT_OBJECT } from '../../durable-objects/call-object.ts'
import { GatewayKey } from '../../protocol/ids.ts'
import { shardName } from '../../protocol/shard.ts'
import { app } from '../../worker/app.ts'
import { put } from './secret-support.ts'
import { admin, call, enrolled, migrate, type TestNode } from './support.ts'

beforeAll(migrate)

const HEADER = 'claw-signature'
const gatewayKey = GatewayKey.parse((JSON.parse(env.GATEWAY_SIGNING_KEY) as { x: string }).x)

interface Asked {
  readonly response: Response
  readonly jwt: string
}

async function ask(node: TestNode, path: string, body: string, headers = {}): Promise<Asked> {
  const { jwt } = await node.proof('POST', path, body)
  const response = await call(path, {
    method: 'POST',
    headers: { authorization: `Claw ${jwt}`, ...headers },
    body,
  })
  return { response, jwt }
}

const fetchSecret = (node: TestNode, name: string) =>
  ask(node, '/v1/node/secrets', JSON.stringify({ secrets: [{ name }] }))

async function upgrade(node: TestNode): Promise<Asked> {
  const { jwt } = await node.proof('GET', '/v1/session')
  return { response: await node.upgrade(jwt), jwt }
}

/** Status and code; the answer must have the gateway's signature for this request, this status and this body, and for no other. */
async function verified({ response, jwt }: Asked): Promise<{ status: number; code?: unknown }> {
  const body = new Uint8Array(await response.arrayBuffer())
  const { status, headers } = response
  const proof = decodeGatewayProof(headers.get(HEADER) ?? '')
  if (proof === undefined) throw new Error(`${status} has no signature`)
  const holds = async (change: object) =>
    (await verifyGateway(proof, await answerTranscript({ proof: jwt, status, body, ...change }), [
      gatewayKey,
    ])) !== undefined
  expect(await holds({})).toBe(true)
  expect(await holds({ status: status + 1 })).toBe(false)
  expect(await holds({ body: utf8('{}') })).toBe(false)
  expect(await holds({ proof: `${jwt}x` })).toBe(false)
  const { code } = JSON.parse(new TextDecoder().decode(body)) as { code?: unknown }
  return { status, code }
}

describe('the signature of an answer', () => {
  it('is on a reply and on each kind of refusal', async () => {
    const node = await enrolled('signed-to')
    await put('for-it', 'value', '?allow-node=signed-to')
    await put('not-for-it', 'value')
    expect(await verified(await fetchSecret(node, 'for-it'))).toEqual({ status: 200 })
    expect(await verified(await fetchSecret(node, 'not-for-it'))).toMatchObject({ code: 'E_SECRET_DENIED' })
    expect(await verified(await ask(node, '/v1/node/secrets', 'no json'))).toMatchObject({ status: 400 })
    expect(await verified(await ask(node, '/v1/node/secrets', 'x'.repeat(70_000)))).toMatchObject({
      code: 'E_BODY_TOO_LARGE',
    })
    expect(await verified(await ask(node, '/v1/node/identity', '{"request":"x"}'))).toMatchObject({
      code: 'E_ENROL_INVALID',
    })
    for (const path of ['/v1/node/nothing', '/v1/node', '/v1/node/secrets/more']) {
      expect(await verified(await ask(node, path, '{}'))).toMatchObject({ code: 'E_NOT_FOUND' })
    }
  })

  it('is on a refusal that names the proof itself', async () => {
    const node = await enrolled('proof-of')
    const used = await fetchSecret(node, 'nothing')
    const again = await call('/v1/node/secrets', {
      method: 'POST',
      headers: { authorization: `Claw ${used.jwt}` },
      body: '{"secrets":[{"name":"nothing"}]}',
    })
    expect(await verified({ response: again, jwt: used.jwt })).toMatchObject({ code: 'E_PROOF_REPLAYED' })
    const late = await node.proof('GET', '/v1/session', '', undefined, Date.now() - 300_000)
    expect(await verified({ response: await node.upgrade(late.jwt), jwt: late.jwt })).toMatchObject({
      code: 'E_PROOF_EXPIRED',
    })
    expect(await verified({ response: await node.upgrade('nonsense'), jwt: 'nonsense' })).toMatchObject({
      code: 'E_PROOF_MALFORMED',
    })
  })

  it('is on the refusals of an upgrade', async () => {
    const node = await enrolled('to-be-held')
    const { jwt } = await node.proof('GET', '/v1/session')
    const plain = await call('/v1/session', { headers: { authorization: `Claw ${jwt}` } })
    expect(await verified({ response: plain, jwt })).toMatchObject({ code: 'E_UPGRADE_REQUIRED' })
    await admin('POST', '/v1/nodes/to-be-held/quarantine', { reason: 'a test' })
    expect(await verified(await upgrade(node))).toEqual({ status: 403, code: 'E_NODE_QUARANTINED' })
    await admin('DELETE', '/v1/nodes/to-be-held')
    expect(await verified(await upgrade(node))).toEqual({ status: 403, code: 'E_NODE_REMOVED' })

    const hoarder = await enrolled('hoarder')
    const sessions = []
    for (let i = 0; i < 8; i++) sessions.push(await hoarder.open())
    expect(await verified(await upgrade(hoarder))).toEqual({ status: 429, code: 'E_RATE_LIMITED' })
    for (const session of sessions) session.close()
  })

  it('is on what the gateway says when a part of it fails', async () => {
    const node = await enrolled('unlucky')
    const shard = env.SESSION_SHARD.getByName(shardName(node.id, 4))
    const log = env.AUDIT_LOG.getByName(AUDIT_OBJECT)
    const rename = (object: DurableObjectStub, from: string, to: string) =>
      runInDurableObject(object, (_, { storage }) => {
        storage.sql.exec(`ALTER TABLE ${from} RENAME TO ${to}`)
      })
    await rename(shard, 'proofs_seen', 'gone')
    await rename(log, 'used_proofs', 'gone')
    expect(await verified(await upgrade(node))).toEqual({ status: 500, code: 'E_INTERNAL' })
    expect(await verified(await fetchSecret(node, 'x'))).toEqual({ status: 500, code: 'E_INTERNAL' })
    await rename(shard, 'gone', 'proofs_seen')
    await rename(log, 'gone', 'used_proofs')
    expect((await upgrade(node)).response.status).toBe(101)
  })

  it('does not cover another proof with the same id', async () => {
    // A removed node of the attacker's own, whose proof borrows the victim's `jti`: the refusal is real, and the attacker's.
    const victim = await enrolled('victim')
    const attacker = await enrolled('attacker')
    await admin('DELETE', '/v1/nodes/attacker')
    const { jwt, jti } = await victim.proof('GET', '/v1/session')
    const drawn = vi.spyOn(crypto, 'getRandomValues').mockImplementationOnce((bytes) => {
      ;(bytes as Uint8Array).set(fromBase64Url(jti) ?? [])
      return bytes
    })
    const { jwt: borrowed, jti: same } = await attacker.proof('GET', '/v1/session')
    drawn.mockRestore()
    expect(same).toBe(jti)
    const response = await attacker.upgrade(borrowed)
    const body = new Uint8Array(await response.clone().arrayBuffer())
    expect(await verified({ response, jwt: borrowed })).toMatchObject({ code: 'E_NODE_REMOVED' })
    const proof = decodeGatewayProof(response.headers.get(HEADER) ?? '')
    const forVictim = await answerTranscript({ proof: jwt, status: 403, body })
    expect(proof && (await verifyGateway(proof, forVictim, [gatewayKey]))).toBeUndefined()
  })

  it('announces the key that will follow', async () => {
    const next = GatewayKey.parse((await Identity.fromSeed(Identity.generateSeed())).publicKey)
    const request = new Request('https://gateway.test/v1/node/none', { headers: { authorization: 'Claw x' } })
    const response = await app.fetch(request, { ...env, GATEWAY_NEXT_KEY: next }, createExecutionContext())
    const proof = decodeGatewayProof(response.headers.get(HEADER) ?? '')
    const body = new Uint8Array(await response.arrayBuffer())
    const transcript = await answerTranscript({ proof: 'x', status: 404, body })
    expect(proof && (await verifyGateway(proof, transcript, [gatewayKey]))).toEqual([gatewayKey, next])
  })
})

describe('no signature', () => {
  it.each<[string, RequestInit]>([
    ['/v1/node/secrets', { method: 'POST' }],
    ['/v1/node/secrets', { headers: { authorization: 'Bearer x' } }],
    ['/v1/nodes', { headers: { authorization: 'Claw x' } }],
    ['/v1/enrol', { method: 'POST', headers: { authorization: 'Claw x' } }],
    ['/healthz', {}],
  ])('is spent on %s with %j', async (path, init) => {
    const response = await call(path, init)
    expect(response.headers.has(HEADER)).toBe(false)
    await response.body?.cancel()
  })

  it('is on a session that begins, which has one of its own', async () => {
    const { response } = await upgrade(await enrolled('beginner'))
    expect([response.status, response.headers.has(HEADER)]).toEqual([101, false])
  })

  it('is made by a gateway without a configuration', async () => {
    const request = new Request('https://gateway.test/v1/node/secrets', {
      headers: { authorization: 'Claw x' },
    })
    const broken = { ...env, MASTER_KEYRING: '' }
    const response = await app.fetch(request, broken, createExecutionContext())
    expect([response.status, response.headers.has(HEADER)]).toEqual([503, false])
  })
})
