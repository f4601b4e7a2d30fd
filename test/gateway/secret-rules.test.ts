/** A rule is added to the policy there is, whatever that has become since it was looked at. */
import { beforeAll, expect, test } from 'vitest'
import { MAX_POLICY_RULES } from '../../protocol/limits.ts'
import { changed, patch, put, read, refusedTo, show } from './secret-support.ts'
import { admin, auditEntries, enrolled, migrate, refusalOf, type TestNode } from './support.ts'

let node: TestNode

beforeAll(async () => {
  await migrate()
  node = await enrolled('ruled', { tags: ['gpu'] as never })
})

const rule = (effect: 'allow' | 'deny', readers: object) => ({ rule: { effect, ...readers } })

test('rules add up, and each counts at once', async () => {
  await put('rules/sum', 'value')
  expect(await refusedTo(node, 'rules/sum')).toBe('E_SECRET_DENIED')
  await changed(patch('rules/sum', rule('allow', { tags: ['gpu'] })))
  expect(await read(node, ['rules/sum'])).toEqual(['value'])
  await changed(patch('rules/sum', rule('deny', { nodes: ['ruled'] })))
  expect(await refusedTo(node, 'rules/sum')).toBe('E_SECRET_DENY_RULE')
  const { policy, version } = await show('rules/sum')
  expect(policy.rules.map(({ effect }) => effect)).toEqual(['allow', 'deny'])
  expect(version).toBe(1)
})

test('the same readers again replace their rule, in whatever order they are named', async () => {
  await put('rules/again', 'value')
  await changed(
    patch('rules/again', rule('allow', { tags: ['gpu', 'lab'], expires: '2020-01-01T00:00:00Z' })),
  )
  expect(await refusedTo(node, 'rules/again')).toBe('E_SECRET_POLICY_EXPIRED')
  const { policy } = await changed(patch('rules/again', rule('allow', { tags: ['lab', 'gpu'] })))
  expect(policy.rules).toHaveLength(1)
  expect(await read(node, ['rules/again'])).toEqual(['value'])
})

test('of two who add a rule at once, both have theirs', async () => {
  await put('rules/race', 'value')
  const added = ['a', 'b', 'c', 'd'].map((tag) =>
    changed(patch('rules/race', rule('allow', { tags: [tag] }))),
  )
  await Promise.all(added)
  const { policy } = await show('rules/race')
  expect(policy.rules.flatMap(({ tags }) => tags).sort()).toEqual(['a', 'b', 'c', 'd'])
})

test('a node that is gone keeps its place in the policy, and nobody gets it with its name', async () => {
  await enrolled('fleeting')
  await put('rules/name', 'value', '?allow-node=fleeting')
  expect((await admin('DELETE', '/v1/nodes/fleeting')).status).toBe(204)
  const heir = await enrolled('fleeting')
  await changed(patch('rules/name', rule('allow', { tags: ['gpu'] })))
  expect(await refusedTo(heir, 'rules/name')).toMatch(/E_SECRET_(TAG|DENIED)/)
  expect(await read(node, ['rules/name'])).toEqual(['value'])
})

test('the trail says which rule was added', async () => {
  await put('rules/trail', 'value')
  await changed(patch('rules/trail', rule('deny', { tags: ['gpu'] })))
  const [entry] = await auditEntries(1)
  expect(entry).toMatchObject({ action: 'secret.policy', target: 'secret:rules/trail' })
  expect(entry?.['reason']).toBe('added: deny tag gpu')
})

test('what cannot be is refused: rule and policy at once, too many, a node that is not there, a secret that is not', async () => {
  await put('rules/full', 'value')
  const both = { ...rule('allow', { tags: ['a'] }), policy: { rules: [] } }
  expect((await refusalOf(await patch('rules/full', both))).code).toBe('E_BODY_INVALID')
  const rules = Array.from({ length: MAX_POLICY_RULES }, (_, index) => ({
    effect: 'allow',
    tags: [`t${index}`],
  }))
  await changed(patch('rules/full', { policy: { rules } }))
  const further = await patch('rules/full', rule('allow', { tags: ['one-more'] }))
  expect((await refusalOf(further)).code).toBe('E_BODY_INVALID')
  await changed(patch('rules/full', rule('allow', { tags: ['t7'] })))
  expect((await refusalOf(await patch('rules/full', rule('allow', { nodes: ['nobody'] })))).code).toBe(
    'E_NODE_NOT_FOUND',
  )
  expect((await refusalOf(await patch('rules/none', rule('allow', { tags: ['a'] })))).code).toBe(
    'E_SECRET_NOT_FOUND',
  )
})
