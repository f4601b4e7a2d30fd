/** A node's keys are in the audit trail before anything is sealed to them, and the registry says where. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { Identity } from '../../crypto/identity.ts'
import { FLEET_OBJECT } from '../../durable-objects/call-object.ts'
import { AuditEntryReply } from '../../protocol/audit.ts'
import { NodeItem } from '../../protocol/http.ts'
import { saysKeys } from '../../protocol/node-key-entry.ts'
import { SecretRecipients } from '../../protocol/secrets.ts'
import { admin, call, createToken, enrolled, migrate, ORIGIN, type TestNode } from './support.ts'

beforeAll(migrate)

const fleet = () => env.FLEET.getByName(FLEET_OBJECT)
const show = async (name: string) => NodeItem.parse(await (await admin('GET', `/v1/nodes/${name}`)).json())
const entryOf = async ({ entry }: Pick<NodeItem, 'entry'>) =>
  AuditEntryReply.parse(await (await admin('GET', `/v1/audit/${entry}`)).json())
const saidKeys = async (node: NodeItem): Promise<boolean> =>
  saysKeys(await entryOf(node), { id: node.id, ...node.keys })

async function rotate(node: TestNode, next: Identity): Promise<number> {
  const path = '/v1/node/identity'
  const body = JSON.stringify({ request: await next.signRotation(node.id, ORIGIN, Date.now()) })
  const { jwt } = await node.proof('POST', path, body)
  return (await call(path, { method: 'POST', headers: { authorization: `Claw ${jwt}` }, body })).status
}

describe('the entry of a node', () => {
  it('says the keys it enrolled with, also when it enrols again', async () => {
    const token = await createToken({ uses: 2 })
    const node = await enrolled('keys-one')
    const first = await show('keys-one')
    expect(await entryOf(first)).toMatchObject({ action: 'node.enrol', target: `node:${node.id}` })
    expect(await saidKeys(first)).toBe(true)
    await node.enrol(token, 'keys-one')
    expect((await show('keys-one')).entry).toBe(first.entry)
  })

  it('is another one after the identity key was changed, and the same if that was refused', async () => {
    const node = await enrolled('keys-two')
    const before = await show('keys-two')
    const next = await Identity.fromSeed(Identity.generateSeed())
    expect(await rotate(node, next)).toBe(403)
    expect((await show('keys-two')).entry).toBe(before.entry)
    const [refused] = (
      (await (await admin('GET', `/v1/audit?target=node:${node.id}&limit=2`)).json()) as { items: unknown[] }
    ).items
    expect(refused).toMatchObject({
      action: 'node.identity_rotated',
      outcome: 'failed',
      reason: 'E_ROTATION_NOT_ASKED',
      detail: { of: expect.any(Number) },
    })
    await admin('POST', '/v1/nodes/keys-two/rotate-identity')
    expect(await rotate(node, next)).toBe(200)
    const after = await show('keys-two')
    expect(after.keys.identity).toBe(next.publicKey)
    expect(await entryOf(after)).toMatchObject({ action: 'node.identity_rotated' })
    expect(await saidKeys(after)).toBe(true)
    expect(saysKeys(await entryOf(before), { id: after.id, ...after.keys })).toBe(false)
  })

  it('says the name that the node was given, where another had the one it wanted', async () => {
    await enrolled('keys-taken')
    const { reply } = await enrolled('keys-taken')
    expect(reply.name).toMatch(/^keys-taken-[a-z2-7]{4}$/)
    const second = await show(reply.name)
    expect(await entryOf(second)).toMatchObject({ action: 'node.keys', detail: { name: reply.name } })
    expect(await saidKeys(second)).toBe(true)
  })

  it('comes with the recipients of a secret', async () => {
    await enrolled('keys-three')
    const reply = await admin(
      'GET',
      '/v1/secrets/keys/sealed/recipients?allow-node=keys-three'.replace('keys/sealed', 'keys%2Fsealed'),
    )
    const [recipient] = SecretRecipients.parse(await reply.json()).items
    expect(recipient?.entry).toBe((await show('keys-three')).entry)
  })

  it('is written by the sweep for nodes of the first release', async () => {
    const old = await enrolled('keys-old')
    const other = await enrolled('keys-older')
    const { entry } = await show('keys-two')
    await runInDurableObject(fleet(), (_, { storage }) => {
      storage.sql.exec('UPDATE nodes SET key_entry = NULL WHERE id IN (?, ?)', old.id, other.id)
    })
    await evictDurableObject(fleet())
    expect((await show('keys-old')).entry).toBeNull()
    await fleet().sweep()
    for (const name of ['keys-old', 'keys-older']) {
      const node = await show(name)
      expect(await entryOf(node)).toMatchObject({ actor: 'gateway', action: 'node.keys' })
      expect(await saidKeys(node)).toBe(true)
    }
    expect((await show('keys-two')).entry).toBe(entry)
    const { entry: once } = await show('keys-old')
    await fleet().sweep()
    expect((await show('keys-old')).entry).toBe(once)
  })
})
