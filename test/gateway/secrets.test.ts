import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { randomId } from '../../crypto/bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { AuditList } from '../../protocol/audit.ts'
import { change, changed, fetchSecrets, put, read, readAsAdmin, refusedTo } from './secret-support.ts'
import { admin, call, enrolled, migrate, refusalOf } from './support.ts'

beforeAll(migrate)

describe('a secret', () => {
  it('comes back as it went in, to the nodes and tags allowed and to the administrator', async () => {
    const [byTag, byName] = [
      await enrolled('s-tag', { tags: ['trainer'] as never }),
      await enrolled('s-name'),
    ]
    await put('db.password', 'pässword', '?allow-tag=trainer&allow-node=s-name')
    expect(await read(byTag, ['db.password'])).toEqual(['pässword'])
    expect(await read(byName, ['db.password'])).toEqual(['pässword'])
    expect(await readAsAdmin('db.password')).toBe('pässword')
    expect(await read(byTag, ['db.password'])).toEqual(['pässword'])
  })

  it('comes in one round trip with others, all or none', async () => {
    const node = await enrolled('s-batch')
    await put('one', '1', '?allow-node=s-batch')
    await put('two', '2', '?allow-node=s-batch')
    await put('other', '3')
    expect(await read(node, ['two', 'one'])).toEqual(['2', '1'])
    expect(await refusalOf((await fetchSecrets(node, ['one', 'other'])).response)).toEqual({
      status: 403,
      code: 'E_SECRET_DENIED',
    })
  })

  it('is denied to a node without right, with a code that says why, in the trail as well', async () => {
    const node = await enrolled('s-denied')
    await put('private', 'x', '?allow-node=s-denied')
    await changed(admin('PATCH', '/v1/secrets/private', { policy: {} }))
    expect(await refusedTo(node, 'private')).toBe('E_SECRET_DENIED')
    expect(await refusedTo(node, 'missing')).toBe('E_SECRET_NOT_FOUND')
    const { items } = AuditList.parse(await (await admin('GET', '/v1/audit?limit=50')).json())
    const denials = items.filter(({ actor, outcome }) => actor === `node:${node.id}` && outcome === 'denied')
    expect(denials.map(({ target }) => target)).toEqual(['secret:missing', 'secret:private'])
    expect(denials[0]?.reason).toContain('E_SECRET_NOT_FOUND')
    expect(denials[1]?.reason).toContain('E_SECRET_DENIED; no rule allows the node')
  })

  it('is denied to another machine that has taken the name of the one allowed', async () => {
    await enrolled('s-named')
    await put('named', 'x', '?allow-node=s-named')
    await admin('DELETE', '/v1/nodes/s-named')
    const impostor = await enrolled('s-named')
    expect(impostor.reply.name).toBe('s-named')
    expect((await fetchSecrets(impostor, ['named'])).response.status).toBe(403)
  })

  it('counts versions, keeps its policy over new values, and goes on counting after it was purged', async () => {
    const node = await enrolled('s-ver')
    const first = await changed(put('counted', 'a', '?allow-node=s-ver'))
    const second = await changed(put('counted', 'b'))
    expect([first.version, second.version]).toEqual([1, 2])
    expect(second.policy.rules[0]?.nodes).toEqual(['s-ver'])
    expect(await read(node, ['counted'])).toEqual(['b'])
    expect((await admin('DELETE', '/v1/secrets/counted')).status).toBe(204)
    expect((await admin('DELETE', '/v1/secrets/counted')).status).toBe(404)
    expect(await refusedTo(node, 'counted')).toBe('E_SECRET_NOT_FOUND')
    const third = await changed(put('counted', 'c'))
    expect(third).toMatchObject({ version: 3, policy: { rules: [] } })
    expect(third.versions.map(({ version }) => version)).toEqual([3])
  })

  it('lies in a folder, and is listed by it', async () => {
    const node = await enrolled('s-folder')
    await put('app/db/password', 'p', '?allow-node=s-folder')
    await put('app/db.user', 'u', '?allow-node=s-folder')
    await put('apple', 'a', '?allow-node=s-folder')
    expect(await read(node, ['app/db/password', 'app/db.user'])).toEqual(['p', 'u'])
    const listed = (await (await admin('GET', '/v1/secrets?prefix=app/')).json()) as {
      items: { name: string }[]
    }
    expect(listed.items.map(({ name }) => name)).toEqual(['app/db.user', 'app/db/password'])
    expect((await refusalOf(await admin('GET', '/v1/secrets?prefix=A%20B'))).code).toBe('E_QUERY_INVALID')
  })

  it('keeps every byte, up to a mebibyte and none', async () => {
    const bytes = new Uint8Array(1024 * 1024).fill(65)
    expect((await put('large', bytes)).status).toBe(200)
    expect(await readAsAdmin('large')).toBe('A'.repeat(bytes.length))
    expect(await refusalOf(await put('large', new Uint8Array(bytes.length + 1)))).toEqual({
      status: 413,
      code: 'E_SECRET_TOO_LARGE',
    })
    await put('empty', '')
    expect(await readAsAdmin('empty')).toBe('')
  })

  it('is not fetched twice at once, nor with more than the gateway can hold', async () => {
    const node = await enrolled('s-bulk')
    const value = new Uint8Array(1024 * 1024).fill(66)
    const names = ['bulk-1', 'bulk-2', 'bulk-3', 'bulk-4']
    for (const name of names) await put(name, value, '?allow-node=s-bulk')
    expect((await refusalOf((await fetchSecrets(node, ['bulk-1', 'bulk-1'])).response)).code).toBe(
      'E_BODY_INVALID',
    )
    expect((await refusalOf((await fetchSecrets(node, names)).response)).code).toBe('E_SECRETS_TOO_LARGE')
    expect((await fetchSecrets(node, names.slice(1))).response.status).toBe(200)
  })

  it('is not sealed to a key that seals nothing', async () => {
    await put('unsealable', 'x')
    const body = { sealTo: 'A'.repeat(43), request: randomId() }
    expect((await refusalOf(await admin('POST', '/v1/secrets/unsealable/read', body))).code).toBe(
      'E_BODY_INVALID',
    )
  })

  it('is refused under a name against the rule, or for a node there is not', async () => {
    for (const name of [
      'Upper',
      '-a',
      'a-',
      'a.',
      'a b',
      '/a',
      'a/',
      'a//b',
      'a/-b',
      'a/../b',
      'x'.repeat(254),
    ]) {
      expect(await refusalOf(await put(name, 'v'))).toEqual({ status: 400, code: 'E_SECRET_NAME' })
    }
    expect((await refusalOf(await put('ok', 'v', '?allow-node=nobody'))).code).toBe('E_NODE_NOT_FOUND')
    expect((await refusalOf(await put('ok', 'v', '?allow-tag=Not+A+Tag'))).code).toBe('E_QUERY_INVALID')
    expect(
      (
        await refusalOf(
          await admin('POST', '/v1/secrets/nothing/read', {
            sealTo: await x25519PublicKey(generateX25519()),
            request: randomId(),
          }),
        )
      ).code,
    ).toBe('E_SECRET_NOT_FOUND')
  })

  it('leaves no plaintext byte in D1 or KV', async () => {
    const node = await enrolled('s-canary')
    const canary = `canary-${randomId()}`
    await put('canary', canary, '?allow-node=s-canary')
    const large = await changed(put('canary.large', canary.repeat(200), '?allow-node=s-canary'))
    await read(node, ['canary', 'canary.large'])
    expect(await read(node, ['canary.large'])).toEqual([canary.repeat(200)])
    const rows = await env.DB.prepare('SELECT hex(frame) AS hex FROM secret_versions').all<{ hex: string }>()
    const hex = [...canary]
      .map((letter) => letter.charCodeAt(0).toString(16))
      .join('')
      .toUpperCase()
    expect(JSON.stringify(rows.results)).not.toContain(hex)
    for (const { name } of (await env.CIPHERTEXTS.list()).keys) {
      expect(await env.CIPHERTEXTS.get(name)).not.toContain(canary)
    }
    expect((await env.CIPHERTEXTS.list()).keys.map(({ name }) => name)).toContain(
      `frame:v2:${large.versions[0]?.sha256}`,
    )
  })

  it('is not decrypted once a byte of its frame has changed', async () => {
    const node = await enrolled('s-corrupt')
    await put('corrupt', 'value', '?allow-node=s-corrupt')
    await env.DB.prepare("UPDATE secret_versions SET frame = zeroblob(40) WHERE name = 'corrupt'").run()
    expect(await refusalOf((await fetchSecrets(node, ['corrupt'])).response)).toEqual({
      status: 500,
      code: 'E_SECRET_CORRUPT',
    })
  })

  it('is bound to the request: a proof cannot be used for another body', async () => {
    const node = await enrolled('s-bound')
    const { jwt } = await node.proof(
      'POST',
      '/v1/node/secrets',
      JSON.stringify({ secrets: [{ name: 'one' }] }),
    )
    const response = await call('/v1/node/secrets', {
      method: 'POST',
      headers: { authorization: `Claw ${jwt}` },
      body: JSON.stringify({ secrets: [{ name: 'two' }] }),
    })
    expect(await refusalOf(response)).toEqual({ status: 401, code: 'E_PROOF_BINDING' })
  })
})

describe('the audit trail', () => {
  it('has an entry for each write, read, list and removal, with actor and request, and no value', async () => {
    const canary = `canary-${randomId()}`
    await put('audited', canary)
    await readAsAdmin('audited')
    await admin('GET', '/v1/secrets')
    await change('audited', 'delete')
    await admin('DELETE', '/v1/secrets/audited')
    const text = await (await admin('GET', '/v1/audit?limit=6')).text()
    const { items } = AuditList.parse(JSON.parse(text))
    expect(items.map(({ action }) => action)).toEqual([
      'audit.list',
      'secret.purge',
      'secret.delete',
      'secret.list',
      'secret.read',
      'secret.write',
    ])
    for (const item of items)
      expect(item).toMatchObject({ actor: 'admin:root', requestId: expect.stringMatching(/^req_/) })
    expect(text).not.toContain(canary)
  })
})
