import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'

import {
  change,
  changed,
  patch,
  put,
  read,
  readAsAdmin,
  readResponse,
  refusedTo,
  show,
} from './secret-support.ts'
import { admin, enrolled, migrate, refusalOf, type TestNode } from './support.ts'

beforeAll(migrate)

const codeOf = async (response: Promise<Response>): Promise<unknown> => (await refusalOf(await response)).code

describe('versions', () => {
  let node: TestNode
  beforeAll(async () => {
    node = await enrolled('v-node')
  })

  it('are kept, and read by number by people', async () => {
    await put('kept', 'one')
    await put('kept', 'two')
    expect(await readAsAdmin('kept')).toBe('two')
    expect(await readAsAdmin('kept', { version: 1 })).toBe('one')
    expect(await codeOf(readResponse('kept', { version: 3 }).then(({ response }) => response))).toBe(
      'E_SECRET_VERSION_NOT_FOUND',
    )
  })

  it('are written on the version that was seen, or not at all', async () => {
    expect((await changed(put('cas', 'a', '?cas=0'))).version).toBe(1)
    expect(await codeOf(put('cas', 'b', '?cas=0'))).toBe('E_SECRET_CAS')
    expect((await changed(put('cas', 'b', '?cas=1'))).version).toBe(2)
    expect(await codeOf(put('cas', 'c', '?cas=7'))).toBe('E_SECRET_CAS')
    await changed(patch('cas', { casRequired: true }))
    expect(await codeOf(put('cas', 'c'))).toBe('E_SECRET_CAS_REQUIRED')
    expect((await changed(put('cas', 'c', '?cas=2'))).version).toBe(3)
    expect(await codeOf(put('cas', 'd', '?cas=x'))).toBe('E_QUERY_INVALID')
  })

  it('get a number each when many are written at once, and none is lost', async () => {
    const written = await Promise.all(['a', 'b', 'c', 'd'].map((value) => changed(put('raced', value))))
    expect(written.map(({ version }) => version).sort()).toEqual([1, 2, 3, 4])
    const values = await Promise.all([1, 2, 3, 4].map((version) => readAsAdmin('raced', { version })))
    expect(values.sort()).toEqual(['a', 'b', 'c', 'd'])
  })

  it('are deleted, brought back, and destroyed for good', async () => {
    await put('life', 'one', '?allow-node=v-node')
    expect((await changed(change('life', 'delete'))).state).toBe('deleted')
    expect(await refusedTo(node, 'life')).toBe('E_SECRET_DELETED')
    expect((await changed(change('life', 'undelete', { versions: [1] }))).state).toBe('live')
    expect(await read(node, ['life'])).toEqual(['one'])
    expect((await changed(change('life', 'destroy', { versions: [1] }))).state).toBe('destroyed')
    expect(await refusedTo(node, 'life')).toBe('E_SECRET_DESTROYED')
    expect(await codeOf(change('life', 'undelete', { versions: [1] }))).toBe('E_SECRET_DESTROYED')
    expect(await codeOf(change('life', 'destroy', { versions: [9] }))).toBe('E_SECRET_VERSION_NOT_FOUND')
    const row = await env.DB.prepare("SELECT frame FROM secret_versions WHERE name = 'life'").first()
    expect(row).toEqual({ frame: null })
  })

  it('beyond the number to keep are gone with the write that passes it', async () => {
    await put('few', '1')
    await changed(patch('few', { maxVersions: 2 }))
    await put('few', '2')
    const third = await changed(put('few', '3'))
    expect(third.versions.map(({ version }) => version)).toEqual([2, 3])
    expect(await codeOf(readResponse('few', { version: 1 }).then(({ response }) => response))).toBe(
      'E_SECRET_VERSION_NOT_FOUND',
    )
  })

  it('end by themselves when they are made to', async () => {
    await put('brief', 'x', '?allow-node=v-node')
    await changed(patch('brief', { deleteAfterMs: 3_600_000 }))
    const { versions } = await changed(put('brief', 'y'))
    const expiresAt = Date.parse(versions[1]?.expiresAt ?? '')
    expect(expiresAt - Date.parse(versions[1]?.createdAt ?? '')).toBe(3_600_000)
    expect(await read(node, ['brief'])).toEqual(['y'])
    await env.DB.prepare(
      "UPDATE secret_versions SET expires_at = 1 WHERE name = 'brief' AND version = 2",
    ).run()
    expect((await show('brief')).state).toBe('deleted')
  })

  it('before the newest are read by nodes only while their overlap lasts', async () => {
    await put('turned', 'old', '?allow-node=v-node')
    await put('turned', 'new', '?overlap=3600000')
    expect(await read(node, [{ name: 'turned', version: 1 }])).toEqual(['old'])
    expect(await read(node, ['turned'])).toEqual(['new'])
    await put('turned', 'newer')
    expect(await refusedTo(node, { name: 'turned', version: 2 })).toBe('E_SECRET_VERSION_ENDED')
    expect(await read(node, [{ name: 'turned', version: 1 }])).toEqual(['old'])
    expect(await readAsAdmin('turned', { version: 2 })).toBe('new')
  })

  it('stay what they are when policy and settings change', async () => {
    await put('edited', 'x')
    const policy = { rules: [{ effect: 'allow', nodes: ['v-node'] }] }
    const edited = await changed(
      patch('edited', { policy, custom: { owner: 'ml' }, rotateEveryMs: 86_400_000 }),
    )
    expect(edited.version).toBe(1)
    expect(edited.settings).toMatchObject({ custom: { owner: 'ml' }, maxVersions: 10 })
    expect(Date.parse(edited.rotationDue ?? '') - Date.parse(edited.versions[0]?.createdAt ?? '')).toBe(
      86_400_000,
    )
    expect(await read(node, ['edited'])).toEqual(['x'])
    await changed(patch('edited', { custom: {} }))
    expect((await show('edited')).policy.rules[0]?.nodes).toEqual(['v-node'])
    expect(await codeOf(patch('edited', { maxVersions: 0 }))).toBe('E_BODY_INVALID')
    expect(await codeOf(patch('edited', { unknown: 1 }))).toBe('E_BODY_INVALID')
    expect(await codeOf(patch('not-there', { maxVersions: 3 }))).toBe('E_SECRET_NOT_FOUND')
  })

  it('are listed when they are due', async () => {
    await put('due-soon', 'x')
    await changed(patch('due-soon', { rotateEveryMs: 60_000 }))
    await env.DB.prepare("UPDATE secret_versions SET created_at = 1 WHERE name = 'due-soon'").run()
    const listed = await admin('GET', '/v1/secrets?due=true')
    const { items } = (await listed.json()) as { items: { name: string }[] }
    expect(items.map(({ name }) => name)).toEqual(['due-soon'])
    expect(await (await admin('GET', '/metrics')).text()).toContain('\nclaw_gateway_secrets_due 1\n')
  })
})

describe('the sealed class', () => {
  const age = (tail: string): string =>
    btoa(
      `age-encryption.org/v1\n-> X25519 ${'A'.repeat(43)}\n${'B'.repeat(43)}\n--- ${'C'.repeat(43)}\n${tail.padEnd(40, '.')}`,
    )

  it('is forwarded as it came, says so, and knows whom it was encrypted to', async () => {
    const node = await enrolled('v-sealed')
    const policy = { rules: [{ effect: 'allow', nodes: ['v-sealed'] }] }
    const body = { ciphertext: age('first'), recipients: [node.id], policy }
    const written = await changed(change('sealed/one', 'sealed', body))
    expect(written).toMatchObject({ class: 'sealed', versions: [{ key: null, recipients: [node.id] }] })
    expect(await read(node, ['sealed/one'])).toEqual([atob(age('first'))])
    const again = { ciphertext: age('again'), recipients: [], reseal: 1 }
    expect(await changed(change('sealed/one', 'sealed', again))).toMatchObject({
      version: 1,
      versions: [{ recipients: [] }],
    })
    expect(await read(node, ['sealed/one'])).toEqual([atob(age('again'))])
  })

  it('does not mix with the other, and takes nothing but age files', async () => {
    await put('managed', 'x')
    const body = { ciphertext: age('x'), recipients: [] }
    expect(await codeOf(change('managed', 'sealed', body))).toBe('E_SECRET_CLASS')
    expect(await codeOf(change('managed', 'sealed', { ...body, reseal: 1 }))).toBe('E_SECRET_CLASS')
    await changed(change('only-sealed', 'sealed', body))
    expect(await codeOf(put('only-sealed', 'plain'))).toBe('E_SECRET_CLASS')
    const plain = { ciphertext: btoa('not an age file'.repeat(20)), recipients: [] }
    expect(await codeOf(change('other', 'sealed', plain))).toBe('E_SECRET_SEALED_FORM')
    expect(await codeOf(change('only-sealed', 'sealed', { ...body, reseal: 2 }))).toBe(
      'E_SECRET_VERSION_NOT_FOUND',
    )
  })

  it('names the nodes that may read, with the keys to encrypt to', async () => {
    const node = await enrolled('v-recipient', { tags: ['sealers'] as never })
    const response = await admin('GET', '/v1/secrets/unwritten/recipients?allow-tag=sealers')
    const { items } = (await response.json()) as { items: unknown[] }
    expect(items).toMatchObject([
      { id: node.id, name: 'v-recipient', sealing: node.seal, identity: node.identity.publicKey },
    ])
  })
})
