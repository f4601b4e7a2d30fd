import { env } from 'cloudflare:workers'
import { SignJWT } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { randomId } from '../../crypto/bytes.ts'
import { tokenHash } from '../../crypto/identity.ts'
import { AuditList } from '../../protocol/audit.ts'
import { EnrolReply, TokenList } from '../../protocol/http.ts'
import { NodeName } from '../../protocol/ids.ts'
import { admin, call, createToken, enrolled, migrate, ORIGIN, refusalOf, TestNode } from './support.ts'

beforeAll(migrate)

const claimsOf = async (node: TestNode, token: string) => ({
  name: NodeName.parse('x'),
  wg: node.wg,
  seal: node.seal,
  agent: 'test/1',
  token: await tokenHash(token),
})

describe('enrolment', () => {
  it('gives a node its id, name, tags and addresses inside the fleet', async () => {
    const node = await enrolled('gpu-a', { tags: ['gpu'] as never })
    expect(node.reply).toMatchObject({
      id: node.id,
      name: 'gpu-a',
      tags: ['gpu'],
      ipv4Range: '10.100.0.0/16',
    })
    expect(node.reply.ipv4).toMatch(/^10\.100\./)
    expect(node.reply.ipv6.startsWith(node.reply.ipv6Range.replace('::/48', ''))).toBe(true)
  })

  it('gives the same node to a retry, without taking a second use', async () => {
    const token = await createToken({ uses: 1 })
    const node = await TestNode.make()
    const first = EnrolReply.parse(await (await node.enrol(token, 'retry')).json())
    const second = EnrolReply.parse(await (await node.enrol(token, 'other-name')).json())
    // Only the signature differs: each answers its own request.
    expect({ ...second, gateway: first.gateway }).toEqual(first)
    expect(await refusalOf(await (await TestNode.make()).enrol(token))).toEqual({
      status: 401,
      code: 'E_TOKEN_USED_UP',
    })
  })

  it('never takes more uses than there are, however many machines come at once', async () => {
    const token = await createToken({ uses: 3 })
    const nodes = await Promise.all(Array.from({ length: 12 }, () => TestNode.make()))
    const answers = await Promise.all(nodes.map((node) => node.enrol(token, 'rush')))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3)
    const replies = await Promise.all(
      answers.filter((a) => a.ok).map(async (a) => EnrolReply.parse(await a.json())),
    )
    const names = replies.map(({ name }) => name)
    expect(names.filter((name) => name === 'rush')).toHaveLength(1)
    expect(replies.filter(({ id, name }) => name === `rush-${id.slice(0, 4)}`)).toHaveLength(2)
    expect(new Set(replies.map(({ ipv4 }) => ipv4)).size).toBe(3)
  })

  it('tells malformed, unknown, expired and revoked tokens apart', async () => {
    const node = await TestNode.make()
    expect(await refusalOf(await node.enrol('no-such-token'))).toEqual({
      status: 401,
      code: 'E_TOKEN_MALFORMED',
    })

    const { privateKey } = (await crypto.subtle.generateKey('Ed25519', false, [
      'sign',
      'verify',
    ])) as CryptoKeyPair
    const forged = await new SignJWT({})
      .setProtectedHeader({ alg: 'EdDSA', typ: 'claw-join+jwt' })
      .setJti(randomId())
      .sign(privateKey)
    expect(await refusalOf(await node.enrol(forged))).toEqual({ status: 401, code: 'E_TOKEN_UNKNOWN' })

    const expired = await createToken({ ttlMs: 60_000 })
    await env.DB.prepare(
      'UPDATE join_tokens SET expires_at = 1 WHERE revoked_at IS NULL AND used = 0 AND uses = 1',
    ).run()
    expect(await refusalOf(await node.enrol(expired))).toEqual({ status: 401, code: 'E_TOKEN_EXPIRED' })

    const revoked = await createToken()
    const { items } = TokenList.parse(await (await admin('GET', '/v1/tokens')).json())
    const id = items.find(({ status }) => status === 'valid')?.id
    expect((await admin('DELETE', `/v1/tokens/${id}`)).status).toBe(204)
    expect(await refusalOf(await node.enrol(revoked))).toEqual({ status: 401, code: 'E_TOKEN_REVOKED' })
  })

  it('keeps no token, only its hash', async () => {
    const token = await createToken()
    const { results } = await env.DB.prepare('SELECT * FROM join_tokens').all()
    const dump = JSON.stringify(results)
    expect(dump).not.toContain(token)
    for (const part of token.split('.')) expect(dump).not.toContain(part)
  })

  it('refuses a request that is signed by another key, for another token, for another gateway, or altered', async () => {
    const token = await createToken()
    const [node, other] = await Promise.all([TestNode.make(), TestNode.make()])
    const signed = await node.identity.signEnrolment(await claimsOf(node, token), ORIGIN, Date.now())
    const [header, payload] = signed.split('.')
    const foreign = (
      await other.identity.signEnrolment(await claimsOf(node, token), ORIGIN, Date.now())
    ).split('.')[2]
    const cases = [
      [`${header}.${payload}.${foreign}`, 'E_ENROL_INVALID'],
      [
        await node.identity.signEnrolment(await claimsOf(node, 'another'), ORIGIN, Date.now()),
        'E_ENROL_INVALID',
      ],
      [
        await node.identity.signEnrolment(await claimsOf(node, token), 'https://elsewhere.test', Date.now()),
        'E_PROOF_AUDIENCE',
      ],
      [
        await node.identity.signEnrolment(await claimsOf(node, token), ORIGIN, Date.now() - 300_000),
        'E_PROOF_EXPIRED',
      ],
      ['not-a-jws', 'E_ENROL_INVALID'],
    ] as const
    for (const [request, code] of cases) {
      expect((await refusalOf(await node.presentEnrolment(token, request))).code).toBe(code)
    }
    expect((await node.enrol(token)).status).toBe(200)
  })

  it('does not let a second identity take the keys of a first', async () => {
    const first = await enrolled('owner')
    const thief = await TestNode.make()
    const token = await createToken()
    const claims = { ...(await claimsOf(thief, token)), wg: first.wg }
    const request = await thief.identity.signEnrolment(claims, ORIGIN, Date.now())
    expect(await refusalOf(await thief.presentEnrolment(token, request))).toEqual({
      status: 409,
      code: 'E_KEY_IN_USE',
    })
  })

  it('takes a key in its one form only, and none of low order', async () => {
    const token = await createToken()
    const stray = async (change: (node: TestNode) => object) => {
      const node = await TestNode.make()
      const claims = { ...(await claimsOf(node, token)), ...change(node) }
      return refusalOf(
        await node.presentEnrolment(token, await node.identity.signEnrolment(claims, ORIGIN, Date.now())),
      )
    }
    const refused = { status: 400, code: 'E_ENROL_INVALID' }
    const nextLetter = (key: string) => key.slice(0, 42) + String.fromCharCode(key.charCodeAt(42) + 1)
    expect(await stray(({ wg }) => ({ wg: nextLetter(wg) }))).toEqual(refused)
    expect(await stray(({ seal }) => ({ seal: nextLetter(seal) }))).toEqual(refused)
    expect(await stray(() => ({ wg: 'A'.repeat(43) }))).toEqual(refused)
    expect(await stray(() => ({ seal: `AQ${'A'.repeat(41)}` }))).toEqual(refused)
  })

  it('is recorded as denied where the registry refuses it', async () => {
    const node = await enrolled('twice-refused')
    await admin('DELETE', '/v1/nodes/twice-refused')
    expect(await refusalOf(await node.enrol(await createToken()))).toEqual({
      status: 403,
      code: 'E_NODE_REMOVED',
    })
    const { items } = AuditList.parse(await (await admin('GET', '/v1/audit?limit=2')).json())
    expect(items[1]).toMatchObject({ action: 'node.enrol', outcome: 'denied', reason: 'E_NODE_REMOVED' })
  })

  it('names the wrong fields of a body, and echoes nothing', async () => {
    const response = await call('/v1/enrol', {
      method: 'POST',
      headers: { authorization: `Bearer ${await createToken()}` },
      body: JSON.stringify({ request: 7, surprise: 'canary-4711' }),
    })
    const text = await response.text()
    expect(response.status).toBe(400)
    expect(text).toContain('request')
    expect(text).not.toContain('canary-4711')
  })
})
