/** X6: a frame whose handling fails is answered and leaves a line in the log; a session that could not begin is closed, and can begin again. */
import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { AUDIT_OBJECT, FLEET_OBJECT } from '../../durable-objects/call-object.ts'
import { Fleet } from '../../durable-objects/fleet.ts'
import { enrolled, migrate } from './support.ts'

beforeAll(migrate)

const broken: (() => Promise<void>)[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  for (const mend of broken.splice(0)) await mend()
})

/** Takes a table away under an object; it comes back after the test. */
async function breakTable(object: DurableObjectStub, table: string): Promise<void> {
  const rename = (from: string, to: string) =>
    runInDurableObject(object, (_, { storage }) => {
      storage.sql.exec(`ALTER TABLE ${from} RENAME TO ${to}`)
    })
  await rename(table, 'taken_away')
  broken.push(() => rename('taken_away', table))
}

const fleet = () => env.FLEET.getByName(FLEET_OBJECT)
const silenced = () => vi.spyOn(console, 'error').mockReturnValue()

describe('a frame whose handling fails', () => {
  it('ends a session that has not begun, with the reason, and the next one begins', async () => {
    const node = await enrolled('register-fails')
    const session = await node.open()
    const log = silenced()
    await breakTable(fleet(), 'nodes')
    session.send(node.register())
    expect((await session.next('error')).code).toBe('E_INTERNAL')
    expect(await session.closed).toEqual({ code: 1011, reason: 'E_INTERNAL' })
    expect(log).toHaveBeenCalledWith({
      event: 'frame_failed',
      session: expect.stringMatching(/^[\w-]{8}…$/),
      node: node.id,
      state: 'registering',
      error: expect.stringContaining('no such table'),
    })
    await broken.pop()?.()
    ;(await node.connect()).close()
  })

  it('says that the gateway is not whole when an object was reset under it', async () => {
    const node = await enrolled('fleet-resets')
    const session = await node.open()
    silenced()
    vi.spyOn(Fleet.prototype, 'register').mockImplementation(function (this: Fleet) {
      ;(this as unknown as { readonly ctx: DurableObjectState }).ctx.abort('reset under a call')
      return expect.unreachable()
    })
    session.send(node.register())
    expect((await session.next('error')).code).toBe('E_UNAVAILABLE')
    expect((await session.closed).code).toBe(1011)
    vi.restoreAllMocks()
    ;(await node.connect()).close()
  })

  it('does not pass over what could not be audited', async () => {
    const node = await enrolled('audit-fails')
    const first = await node.open()
    const frame = node.register()
    first.send(frame)
    await first.next('registered')
    silenced()
    await breakTable(env.AUDIT_LOG.getByName(AUDIT_OBJECT), 'entries')
    const clone = await node.open()
    clone.send(frame)
    expect((await clone.next('error')).code).toBe('E_INTERNAL')
    expect((await clone.closed).code).toBe(1011)
    first.close()
  })

  it('leaves a session that is up as it is', async () => {
    const node = await enrolled('resync-fails')
    const session = await node.connect()
    await session.next('mesh')
    const log = silenced()
    await breakTable(fleet(), 'mesh_log')
    session.send({ type: 'mesh_resync' })
    expect((await session.next('error')).code).toBe('E_INTERNAL')
    expect(log).toHaveBeenCalledWith(expect.objectContaining({ event: 'frame_failed', state: 'live' }))
    await broken.pop()?.()
    session.send({ type: 'mesh_resync' })
    await session.next('mesh')
    session.close()
  })
})
