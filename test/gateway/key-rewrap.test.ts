import { runDurableObjectAlarm } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { utf8 } from '../../crypto/bytes.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { deriveSecretKey, sealFrame } from '../../crypto/secret-frame.ts'
import { REWRAP_OBJECT } from '../../durable-objects/call-object.ts'
import { readConfig } from '../../durable-objects/config.ts'
import { AuditList } from '../../protocol/audit.ts'
import { SecretName } from '../../protocol/ids.ts'
import { KeyringReply } from '../../protocol/secrets.ts'
import { changed, put, read, readAsAdmin, readResponse, show } from './secret-support.ts'
import { admin, enrolled, migrate, refusalOf } from './support.ts'

beforeAll(migrate)

const keyring = async (): Promise<KeyringReply> =>
  KeyringReply.parse(await (await admin('GET', '/v1/keys')).json())

/** As it was stored before the keyring's active key was the active one. */
async function underOldKey(name: string, value: string): Promise<void> {
  const { keyring } = await readConfig(env)
  const old = keyring.key(1)
  if (old === undefined) throw new Error('the keyring has no old key')
  using key = deriveSecretKey(old, SecretName.parse(name))
  const frame = sealFrame(key, SecretBytes.take(utf8(value)))
  await env.DB.prepare('UPDATE secret_versions SET key_version = 1, frame = ?, sha256 = NULL WHERE name = ?')
    .bind(frame, name)
    .run()
}

async function runToEnd(): Promise<KeyringReply> {
  while (await runDurableObjectAlarm(env.KEY_REWRAP.getByName(REWRAP_OBJECT)));
  return keyring()
}

describe('the master keyring', () => {
  it('shows numbers only', async () => {
    const text = await (await admin('GET', '/v1/keys')).text()
    const { keys } = JSON.parse(env.MASTER_KEYRING) as { keys: Record<string, string> }
    for (const key of Object.values(keys)) expect(text).not.toContain(key.slice(0, 12))
    expect(KeyringReply.parse(JSON.parse(text))).toMatchObject({ active: 2, versions: [1, 2] })
  })

  it('moves what is stored to its active key, while it is read', async () => {
    const node = await enrolled('k-node')
    for (const name of ['k-one', 'k-two', 'k-three']) {
      await put(name, `value of ${name}`, '?allow-node=k-node')
      await underOldKey(name, `value of ${name}`)
    }
    expect((await keyring()).usage).toMatchObject({ 1: 3 })
    const started = await admin('POST', '/v1/keys/rewrap', {})
    expect(started.status).toBe(202)
    expect(await refusalOf(await admin('POST', '/v1/keys/rewrap', {}))).toMatchObject({
      code: 'E_KEY_IN_REWRAP',
    })
    expect(await read(node, ['k-one'])).toEqual(['value of k-one'])
    const ended = await runToEnd()
    expect(ended.rewrap).toMatchObject({ state: 'idle', done: 3, left: 0 })
    expect(ended.usage).not.toHaveProperty('1')
    for (const name of ['k-one', 'k-two', 'k-three']) {
      expect(await readAsAdmin(name)).toBe(`value of ${name}`)
      expect((await show(name)).versions).toMatchObject([{ version: 1, key: 2 }])
    }
    const { items } = AuditList.parse(await (await admin('GET', '/v1/audit?limit=100')).json())
    const moved = items.filter(({ action }) => action === 'secret.rewrap')
    expect(moved.map(({ target }) => target).sort()).toEqual([
      'secret:k-one',
      'secret:k-three',
      'secret:k-two',
    ])
    const [version] = (await show('k-one')).versions
    const entry = moved.find(({ target }) => target === 'secret:k-one')
    expect(version).toMatchObject({ entry: entry?.seq, sha256: entry?.detail?.['sha256'] })
  })

  it('goes on after it was cut short, and names what it could not move without stopping there', async () => {
    await put('k-a-retired', 'x')
    await underOldKey('k-a-retired', 'x')
    await env.DB.prepare("UPDATE secret_versions SET key_version = 9 WHERE name = 'k-a-retired'").run()
    await put('k-b-behind', 'y')
    await underOldKey('k-b-behind', 'y')
    await admin('POST', '/v1/keys/rewrap', {})
    const ended = await runToEnd()
    expect(ended.rewrap).toMatchObject({ state: 'failed', done: 1, left: 1 })
    expect(ended.rewrap.problem).toContain('k-a-retired version 1: E_KEY_RETIRED')
    expect(await readAsAdmin('k-b-behind')).toBe('y')
    const { response } = await readResponse('k-a-retired')
    expect(await refusalOf(response)).toEqual({ status: 500, code: 'E_KEY_RETIRED' })
    await changed(put('k-a-retired', 'new'))
    expect(await readAsAdmin('k-a-retired')).toBe('new')
  })
})
