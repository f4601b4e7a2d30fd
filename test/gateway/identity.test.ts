import { evictDurableObject } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { SignJWT } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { randomId, toBase64Url, utf8 } from '../../crypto/bytes.ts'
import { enrolmentTranscript, sessionTranscript, verifyGateway } from '../../crypto/gateway-proof.ts'
import { bodyHash, Identity, importIdentityKey, tokenHash } from '../../crypto/identity.ts'
import { sawOurCertificate } from '../../durable-objects/registration.ts'
import { AuditList } from '../../protocol/audit.ts'
import { EnrolReply, NodeItem } from '../../protocol/http.ts'
import { GatewayKey, NodeName } from '../../protocol/ids.ts'
import { shardName } from '../../protocol/shard.ts'
import { admin, call, createToken, enrolled, migrate, ORIGIN, refusalOf, TestNode } from './support.ts'

beforeAll(migrate)

const gatewayKey = GatewayKey.parse((JSON.parse(env.GATEWAY_SIGNING_KEY) as { x: string }).x)
const show = async (name: string) => NodeItem.parse(await (await admin('GET', `/v1/nodes/${name}`)).json())
const actions = async () => {
  const { items } = AuditList.parse(await (await admin('GET', '/v1/audit?limit=20')).json())
  return items.map(({ action, target }) => `${action} ${target}`)
}

describe("the gateway's key", () => {
  it('is in the join token, and signs the answer to an enrolment for that one request', async () => {
    const token = await createToken()
    const claims = JSON.parse(
      atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')),
    ) as { gk: string }
    expect(claims.gk).toBe(gatewayKey)
    const node = await TestNode.make()
    const name = NodeName.parse('signed')
    const request = await node.identity.signEnrolment(
      { name, wg: node.wg, seal: node.seal, agent: 'test/1', token: await tokenHash(token) },
      ORIGIN,
      Date.now(),
    )
    const reply = EnrolReply.parse(await (await node.presentEnrolment(token, request)).json())
    const transcript = enrolmentTranscript(await bodyHash(utf8(request)), reply)
    expect(await verifyGateway(reply.gateway, transcript, [gatewayKey])).toEqual([gatewayKey])
    const altered = enrolmentTranscript(await bodyHash(utf8(request)), { ...reply, ipv4: '10.100.9.9' })
    expect(await verifyGateway(reply.gateway, altered, [gatewayKey])).toBeUndefined()
    const elsewhere = enrolmentTranscript(await bodyHash(utf8('another')), reply)
    expect(await verifyGateway(reply.gateway, elsewhere, [gatewayKey])).toBeUndefined()
  })

  it('signs each session anew', async () => {
    const node = await enrolled('transcript')
    const { jwt, jti } = await node.proof('GET', '/v1/session')
    const session = await node.open(jwt)
    const frame = node.register()
    session.send(frame)
    const registered = await session.next('registered')
    const { fleet, time, protocol } = registered
    const { leaseMs } = registered.settings
    const { generation } = frame
    const transcript = { fleet, node: node.id, proof: jti, generation, protocol, time, leaseMs }
    expect(await verifyGateway(registered.gateway, sessionTranscript(transcript), [gatewayKey])).toEqual([
      gatewayKey,
    ])
    for (const change of [
      { proof: randomId() },
      { generation: 9 },
      { time: time + 1 },
      { leaseMs: leaseMs + 1 },
    ]) {
      const other = sessionTranscript({ ...transcript, ...change })
      expect(await verifyGateway(registered.gateway, other, [gatewayKey])).toBeUndefined()
    }
    const stranger = GatewayKey.parse((await Identity.fromSeed(Identity.generateSeed())).publicKey)
    expect(await verifyGateway(registered.gateway, sessionTranscript(transcript), [stranger])).toBeUndefined()
    session.close()
  })
})

describe('the channel statement', () => {
  it('holds only for our certificate, this session and this node', async () => {
    const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair
    const raw = (await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer
    const key = await importIdentityKey(toBase64Url(new Uint8Array(raw)) as never)
    const [jti, spki] = [randomId(), 'A'.repeat(43)]
    const state = (claims: object, typ = 'claw-channel+jwt') =>
      new SignJWT({ ...claims }).setProtectedHeader({ alg: 'EdDSA', typ }).sign(pair.privateKey)
    const register = (channel: string) => ({ channel }) as Parameters<typeof sawOurCertificate>[0]
    const saw = async (channel: string, ours: string[], proof = jti) =>
      sawOurCertificate(register(channel), key, proof, new Set(ours))

    expect(await saw(await state({ jti, spki }), [spki])).toBe(true)
    expect(await saw(await state({ jti, spki }), ['B'.repeat(43)])).toBe(false)
    expect(await saw(await state({ jti, spki }), [spki], randomId())).toBe(false)
    expect(await saw(await state({ jti, spki }, 'claw-proof+jwt'), [spki])).toBe(false)
    expect(await saw('none', [spki])).toBe(false)
    const foreign = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair
    const forged = await new SignJWT({ jti, spki })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'claw-channel+jwt' })
      .sign(foreign.privateKey)
    expect(await saw(forged, [spki])).toBe(false)
    expect(await saw('anything', [])).toBe(true)
  })
})

describe('a clone', () => {
  it('shows as a generation used before: the identity is held, named to the owner, and free after release', async () => {
    const node = await enrolled('twin')
    const peer = await enrolled('peer')
    const watching = await peer.connect()
    const original = await node.connect({ generation: 7 })
    await watching.next('mesh')
    const clone = await node.open()
    clone.send({ ...node.register(), generation: 7 })
    expect((await clone.next('error')).code).toBe('E_NODE_QUARANTINED')
    expect((await original.next('error')).code).toBe('E_NODE_QUARANTINED')
    expect((await clone.closed).code).toBe(4004)
    expect((await original.closed).code).toBe(4004)
    expect(await show('twin')).toMatchObject({
      status: 'quarantined',
      quarantine: expect.stringContaining('two machines'),
    })
    expect(await actions()).toContain(`node.quarantine node:${node.id}`)
    let gone = await watching.next('mesh')
    while (!gone.del?.includes(node.id)) gone = await watching.next('mesh')

    await evictDurableObject(env.SESSION_SHARD.getByName(shardName(node.id, 4)))
    expect(await refusalOf(await node.upgrade())).toEqual({ status: 403, code: 'E_NODE_QUARANTINED' })
    expect((await admin('POST', '/v1/nodes/twin/release', {})).status).toBe(204)
    const again = await node.connect({ generation: 1 })
    expect((await show('twin')).status).toBe('online')
    again.close()
    watching.close()
  })

  it('is not what a restart looks like: each session raises the generation', async () => {
    const node = await enrolled('restarter')
    for (let i = 0; i < 3; i++) {
      const session = await node.connect()
      session.close()
      await session.closed
    }
    expect((await show('restarter')).quarantine).toBeUndefined()
  })
})

describe('quarantine by the owner', () => {
  it('cuts the socket, refuses requests, and is undone by release', async () => {
    const node = await enrolled('suspect')
    const session = await node.connect()
    expect((await admin('POST', '/v1/nodes/suspect/quarantine', { reason: 'looks odd' })).status).toBe(204)
    expect((await session.closed).code).toBe(4004)
    const body = JSON.stringify({ names: ['x'] })
    const { jwt } = await node.proof('POST', '/v1/node/secrets', body)
    const response = await call('/v1/node/secrets', {
      method: 'POST',
      headers: { authorization: `Claw ${jwt}` },
      body,
    })
    expect(await refusalOf(response)).toEqual({ status: 403, code: 'E_NODE_QUARANTINED' })
    expect((await show('suspect')).quarantine).toBe('looks odd')
    await admin('POST', '/v1/nodes/suspect/release', {})
    const back = await node.connect()
    back.close()
    expect((await admin('POST', '/v1/nodes/nobody/quarantine', {})).status).toBe(404)
  })
})

describe('a new identity key', () => {
  const rotation = (key: CryptoKeyPair, x: string, claims: object) =>
    new SignJWT({ iat: Math.floor(Date.now() / 1000), ...claims })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'claw-rotation+jwt', jwk: { kty: 'OKP', crv: 'Ed25519', x } })
      .sign(key.privateKey)

  it('is taken when old and new key sign; the node stays who it is and the old key is refused', async () => {
    const node = await enrolled('renewed')
    const session = await node.connect()
    expect((await admin('POST', '/v1/nodes/renewed/rotate-identity', {})).status).toBe(204)
    await session.next('rotate_identity')

    const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair
    const x = toBase64Url(
      new Uint8Array((await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer),
    )
    const send = async (request: string) => {
      const body = JSON.stringify({ request })
      const { jwt } = await node.proof('POST', '/v1/node/identity', body)
      return call('/v1/node/identity', { method: 'POST', headers: { authorization: `Claw ${jwt}` }, body })
    }
    const other = await enrolled('bystander')
    expect((await refusalOf(await send(await rotation(pair, x, { sub: other.id, aud: ORIGIN })))).code).toBe(
      'E_ENROL_INVALID',
    )
    expect(
      (await refusalOf(await send(await rotation(pair, x, { sub: node.id, aud: 'https://else.test' })))).code,
    ).toBe('E_PROOF_AUDIENCE')
    expect(
      (
        await refusalOf(
          await send(await rotation(pair, other.identity.publicKey, { sub: node.id, aud: ORIGIN })),
        )
      ).code,
    ).toBe('E_ENROL_INVALID')
    expect((await send(await rotation(pair, x, { sub: node.id, aud: ORIGIN }))).status).toBe(200)

    expect(await show('renewed')).toMatchObject({ id: node.id, keys: { identity: x } })
    expect((await refusalOf(await node.upgrade())).code).toBe('E_PROOF_SIGNATURE')
    expect((await refusalOf(await node.enrol(await createToken(), 'renewed'))).code).toBe('E_KEY_IN_USE')
    expect(await actions()).toContain(`node.identity_rotated node:${node.id}`)
    session.close()
  })

  it('is taken only while its owner has asked for it, and the node hears of it when it comes', async () => {
    const node = await enrolled('unasked')
    const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair
    const x = toBase64Url(
      new Uint8Array((await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer),
    )
    const send = async (iat: number) => {
      const body = JSON.stringify({ request: await rotation(pair, x, { sub: node.id, aud: ORIGIN, iat }) })
      const { jwt } = await node.proof('POST', '/v1/node/identity', body)
      return call('/v1/node/identity', { method: 'POST', headers: { authorization: `Claw ${jwt}` }, body })
    }
    const now = Math.floor(Date.now() / 1000)
    expect(await refusalOf(await send(now))).toEqual({ status: 403, code: 'E_ROTATION_NOT_ASKED' })
    await admin('POST', '/v1/nodes/unasked/rotate-identity', {})
    const session = await node.connect()
    await session.next('rotate_identity')
    expect((await refusalOf(await send(now - 3600))).code).toBe('E_PROOF_EXPIRED')
    expect((await send(now)).status).toBe(200)
    expect((await send(now)).status).toBe(401)
    session.close()
  })
})

describe('a credential that came over plain HTTP', () => {
  const plain = (path: string, authorization: string) =>
    exports.default.fetch(new Request(`http://gateway.test${path}`, { headers: { authorization } }))

  it('is revoked when it is a join token, and the trail says so', async () => {
    const token = await createToken({ uses: 5 })
    const response = await plain('/v1/enrol', `Bearer ${token}`)
    expect(await response.json()).toMatchObject({
      code: 'E_PLAINTEXT',
      detail: expect.stringContaining('revoked'),
    })
    expect((await refusalOf(await (await TestNode.make()).enrol(token))).code).toBe('E_TOKEN_REVOKED')
    expect((await actions()).join()).toContain('credential.leaked token:')
  })

  it('is used up when it is the proof of a node', async () => {
    const node = await enrolled('loud')
    const { jwt } = await node.proof('GET', '/v1/session')
    await plain('/v1/session', `Claw ${jwt}`)
    expect((await refusalOf(await node.upgrade(jwt))).code).toBe('E_PROOF_REPLAYED')
  })

  it('is left alone when it is not genuine', async () => {
    const response = await plain('/v1/nodes', 'Bearer claw_00000000000000000000000000000000')
    expect(await response.json()).not.toHaveProperty('detail')
    expect((await admin('GET', '/v1/nodes')).status).toBe(200)
  })

  it('is revoked when it is the admin token, for good', async () => {
    await plain('/v1/nodes', `Bearer ${env.TEST_ADMIN_TOKEN}`)
    expect(await refusalOf(await admin('GET', '/v1/nodes'))).toEqual({ status: 401, code: 'E_AUTH_INVALID' })
    await env.DB.prepare('DELETE FROM revoked_credentials').run()
    expect((await admin('GET', '/v1/nodes')).status).toBe(200)
  })
})

describe('old TLS', () => {
  it('is refused where Cloudflare reports it', async () => {
    for (const tlsVersion of ['TLSv1', 'TLSv1.1']) {
      const response = await exports.default.fetch(
        new Request(`${ORIGIN}/healthz`, { cf: { tlsVersion } as never }),
      )
      expect(await refusalOf(response)).toEqual({ status: 426, code: 'E_TLS_VERSION' })
    }
    for (const tlsVersion of ['TLSv1.2', 'TLSv1.3']) {
      expect(
        (await exports.default.fetch(new Request(`${ORIGIN}/healthz`, { cf: { tlsVersion } as never })))
          .status,
      ).toBe(200)
    }
  })
})

describe('rate limits', () => {
  it('stop a prefix that guesses, and not the one beside it', async () => {
    const guess = (address: string) =>
      exports.default.fetch(
        new Request(`${ORIGIN}/v1/nodes`, {
          headers: { authorization: 'Bearer claw_wrong', 'cf-connecting-ip': address },
          cf: { tlsVersion: 'TLSv1.3' } as never,
        }),
      )
    let response = await guess('192.0.2.7')
    for (let i = 0; i < 80 && response.status === 401; i++) response = await guess(`192.0.2.${i}`)
    expect(response.headers.get('retry-after')).toBe('5')
    expect(await refusalOf(response)).toEqual({ status: 429, code: 'E_RATE_LIMITED' })
    expect((await guess('198.51.100.7')).status).toBe(401)
    expect((await admin('GET', '/v1/nodes')).status).toBe(200)
  })
})
