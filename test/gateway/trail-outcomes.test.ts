/** What the trail says was allowed has happened, or the next entry says that it has not. */
import { beforeAll, expect, it } from 'vitest'
import { admin, auditEntries, migrate, refusalOf } from './support.ts'

beforeAll(migrate)

it.each([
  ['/v1/nodes/nobody', 'node.remove', 'E_NODE_NOT_FOUND'],
  [`/v1/tokens/${'A'.repeat(22)}`, 'token.revoke', 'E_NOT_FOUND'],
])('DELETE %s', async (path, action, code) => {
  expect(await refusalOf(await admin('DELETE', path))).toEqual({ status: 404, code })
  const [outcome, entry] = await auditEntries(2)
  expect(entry).toMatchObject({ action, outcome: 'allowed' })
  expect(outcome).toMatchObject({
    action,
    outcome: 'failed',
    reason: code,
    target: entry?.['target'],
    detail: { of: entry?.['seq'] },
  })
})
