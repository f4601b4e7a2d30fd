/** A node's keys can be looked up in the trail also after the entry they came with was archived: they are said again. */
import { beforeAll, expect, it } from 'vitest'
import { toBase64 } from '../../crypto/bytes.ts'
import { parseCheckpoint } from '../../crypto/checkpoint.ts'
import { AuditArchiveReply, AuditEntryReply } from '../../protocol/audit.ts'
import { NodeItem } from '../../protocol/http.ts'
import { saysKeys } from '../../protocol/node-key-entry.ts'
import { admin, enrolled, migrate, refusalOf } from './support.ts'

beforeAll(migrate)

const show = async (name: string) => NodeItem.parse(await (await admin('GET', `/v1/nodes/${name}`)).json())

async function archive(): Promise<number> {
  const [text = ''] = (await (await admin('GET', '/v1/audit/checkpoint')).text()).split('\n\n')
  const checkpoint = parseCheckpoint(`${text}\n`)
  if (checkpoint === undefined) throw new Error('there is no checkpoint')
  const body = { size: checkpoint.size, root: toBase64(checkpoint.root) }
  return AuditArchiveReply.parse(await (await admin('POST', '/v1/audit/archive', body)).json()).below
}

it('the entry of a node that was archived is followed by another, and one that was not stays', async () => {
  await enrolled('archived')
  const before = await show('archived')
  await Promise.all(Array.from({ length: 300 }, () => admin('GET', '/v1/secrets')))
  await enrolled('recent')
  const recent = await show('recent')
  const below = await archive()
  expect(before.entry).toBeLessThan(below)
  expect(recent.entry).toBeGreaterThanOrEqual(below)
  expect((await refusalOf(await admin('GET', `/v1/audit/${before.entry}`))).code).toBe('E_AUDIT_ARCHIVED')

  const after = await show('archived')
  const entry = AuditEntryReply.parse(await (await admin('GET', `/v1/audit/${after.entry}`)).json())
  expect(entry).toMatchObject({ actor: 'gateway', action: 'node.keys' })
  expect(saysKeys(entry, { id: after.id, ...after.keys })).toBe(true)
  expect((await show('recent')).entry).toBe(recent.entry)
})
