/** What one request may cost: policies and pages as large as they can be asked for, and cursors that nobody gave. */
import { beforeAll, describe, expect, it } from 'vitest'
import { concat, toBase64, toBase64Url, utf8 } from '../../crypto/bytes.ts'
import { MAX_PAGE, MAX_SECRET_PAGE } from '../../protocol/limits.ts'
import { NOBODY } from '../../protocol/secret-policy.ts'
import { KnownSecrets } from '../../secrets/known.ts'
import type { Found } from '../../secrets/rows.ts'
import { changed, patch, put, show } from './secret-support.ts'
import { admin, enrolled, migrate, refusalOf } from './support.ts'

beforeAll(migrate)

/** As long as what a rule names: some five bytes in the request, twelve in the words of the trail. */
const jobs = (from: number, count: number) =>
  Array.from({ length: count }, (_, index) => (from + index).toString(36))
const rules = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ effect: 'allow', workloads: jobs(index * 1000, 1000) }))

describe('a policy that no entry of the trail could describe', () => {
  it('is refused, and not a failure', async () => {
    await put('bounds/policy', 'value')
    const refused = await refusalOf(await patch('bounds/policy', { policy: { rules: rules(9) } }))
    expect(refused).toEqual({ status: 400, code: 'E_BODY_INVALID' })
    expect((await show('bounds/policy')).policy).toEqual(NOBODY)
  })

  it('is refused as well where it comes by a rule at a time', async () => {
    await put('bounds/rules', 'value')
    const added: unknown[] = []
    for (const rule of rules(9)) added.push((await patch('bounds/rules', { rule })).status)
    expect(new Set(added)).toEqual(new Set([200, 400]))
    expect(added.indexOf(400)).toBeGreaterThan(2)
  })

  it('is refused with a sealed value', async () => {
    const ciphertext = concat(utf8('age-encryption.org/v1\n'), new Uint8Array(200))
    const body = {
      ciphertext: toBase64(ciphertext),
      recipients: [],
      policy: { rules: rules(20) },
    }
    const response = await admin('POST', '/v1/secrets/bounds%2Fsealed/sealed', body)
    expect(await refusalOf(response)).toEqual({ status: 400, code: 'E_BODY_INVALID' })
  })
})

it('a rule may name as many nodes as it can hold, each of which is looked up with the others', async () => {
  await enrolled('bounded')
  await put('bounds/nodes', 'value')
  const nodes = ['bounded', ...Array.from({ length: 999 }, (_, index) => `n${index}`)]
  const refused = await patch('bounds/nodes', { rule: { effect: 'allow', nodes } })
  expect(await refused.json()).toMatchObject({ code: 'E_NODE_NOT_FOUND', detail: 'there is no node n0' })
  const { policy } = await changed(patch('bounds/nodes', { rule: { effect: 'allow', nodes: ['bounded'] } }))
  expect(policy.rules[0]?.nodes).toEqual(['bounded'])
})

it.each(['/v1/secrets', '/v1/secret-versions'])('%s gives pages of bounded size', async (path) => {
  expect((await admin('GET', `${path}?limit=${MAX_SECRET_PAGE}`)).status).toBe(200)
  const refused = await refusalOf(await admin('GET', `${path}?limit=${MAX_PAGE}`))
  expect(refused).toEqual({ status: 400, code: 'E_QUERY_INVALID' })
})

it.each(['name:x', 'name:', 'name', ':', 'name:1e999', 'name:-1', 'name:0x1'])(
  'a cursor %j that is none is refused',
  async (text) => {
    const response = await admin('GET', `/v1/secret-versions?cursor=${toBase64Url(utf8(text))}`)
    expect(await refusalOf(response)).toEqual({ status: 400, code: 'E_QUERY_INVALID' })
  },
)

describe('what an isolate remembers', () => {
  const found = (name: string, workloads: readonly string[]) =>
    ({
      secret: { name, policy: { rules: [{ workloads }], expires: null }, settings: { custom: {} } },
      version: undefined,
    }) as unknown as Found

  it('is bounded by its size, whatever the policies are', () => {
    const known = new KnownSecrets()
    const large = jobs(0, 5_000)
    const wanted = Array.from({ length: 2_000 }, (_, version) => ({
      name: 'large' as never,
      version: version + 1,
    }))
    for (const one of wanted) known.learn(one, found('large', large), 's', 's')
    const held = wanted.filter((one) => known.get(one) !== undefined)
    expect(held.length).toBeGreaterThan(100)
    expect(held.length).toBeLessThan(1_000)
    expect(held.at(-1)).toEqual(wanted.at(-1))
  })

  it('counts what was taken away, and what took its place', () => {
    const known = new KnownSecrets()
    const [large, small] = [{ name: 'large' as never }, { name: 'small' as never }]
    known.learn(small, found('small', []), 's', 's')
    for (let round = 0; round < 2_000; round++) {
      known.learn(large, found('large', jobs(0, 5_000)), 's', 's')
      if (round % 2 === 0) known.learn(large, undefined, 's', null)
    }
    expect(known.get(small)?.found?.secret.name).toBe('small')
  })
})
