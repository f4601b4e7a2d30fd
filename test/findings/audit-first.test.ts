/** I7.3: an action whose entry cannot be written does not happen, and its caller is told nothing but that. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { beforeEach, expect, test } from 'vitest'
import { generateApiToken, hashApiToken } from '../../crypto/api-token.ts'
import { loadApp } from './gateway-modules.ts'

const app = await loadApp()
const token = generateApiToken('claw')
const statements: string[] = []
const calls: string[] = []

const SECRET = {
  name: 'there',
  revision: 1,
  class: 'managed',
  newest: 1,
  policy: '{"rules":[],"expires":null}',
  custom: '{}',
  purged_at: null,
}

const API_KEY = {
  id: 'A'.repeat(22),
  name: 'there',
  role: 'viewer',
  created_at: 1,
  expires_at: null,
  revoked_at: null,
  created_by: 'admin:root',
}

/** Knows one API key, and one secret without versions, and notes what it was asked to write. */
const database = {
  prepare(sql: string) {
    const statement = {
      bind: () => statement,
      first: async () => {
        if (sql.includes('FROM secrets s')) return SECRET
        return sql.includes('FROM api_keys') ? API_KEY : null
      },
      all: async () => ({ results: [] }),
      run: async () => {
        statements.push(sql)
        return { meta: { changes: 1 } }
      },
      sql,
    }
    return statement
  },
  batch: async (batch: readonly { readonly sql: string }[]) => {
    statements.push(...batch.map(({ sql }) => sql))
    return batch.map(() => ({ results: [], meta: { changes: 1 } }))
  },
}

const full = async () => {
  throw new Error('the disk of the audit object is full: canary')
}
const object = (methods: object) => ({ getByName: () => methods })
const env = {
  FLEET_NAME: 'fleet',
  FLEET_CIDR: '10.100.0.0/16',
  SESSION_SHARDS: '4',
  GATEWAY_ORIGINS: 'https://gateway.test',
  MASTER_KEYRING: JSON.stringify({ active: 1, keys: { 1: randomBytes(32).toString('base64') } }),
  GATEWAY_SIGNING_KEY: JSON.stringify(generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })),
  ADMIN_TOKEN_HASH: hashApiToken(token),
  DB: database,
  CIPHERTEXTS: { get: async () => null, delete: async () => calls.push('KV.delete') },
  SESSION_SHARD: object({ askForRotation: async () => calls.push('askForRotation') }),
  FLEET: object({
    nodeByName: async () => ({ id: 'a'.repeat(26), name: 'x' }),
    remove: async () => calls.push('remove'),
    setTags: async () => calls.push('setTags'),
    askWireguardRotation: async () => calls.push('askWireguardRotation'),
    quarantine: async () => calls.push('quarantine'),
    release: async () => calls.push('release'),
  }),
  AUDIT_LOG: object({
    append: full,
    begin: full,
    settle: full,
  }),
  RELAY_SHARD: object({}),
  KEY_REWRAP: object({ start: async () => calls.push('rewrap'), status: async () => calls.push('status') }),
}

beforeEach(() => {
  statements.length = 0
  calls.length = 0
})

test.each([
  ['PUT', '/v1/secrets/there', 'value'],
  ['PATCH', '/v1/secrets/there', '{"maxVersions":3}'],
  ['DELETE', '/v1/secrets/there', undefined],
  ['POST', '/v1/keys/rewrap', '{}'],
  ['GET', '/v1/secrets', undefined],
  ['POST', '/v1/tokens', '{}'],
  ['DELETE', `/v1/tokens/${'A'.repeat(22)}`, undefined],
  ['POST', '/v1/api-keys', '{"name":"new","role":"viewer"}'],
  ['GET', '/v1/api-keys', undefined],
  ['DELETE', '/v1/api-keys/there', undefined],
  ['DELETE', '/v1/nodes/x', undefined],
  ['PATCH', '/v1/nodes/x', '{"tags":[]}'],
  ['POST', '/v1/nodes/x/quarantine', '{}'],
  ['POST', '/v1/nodes/x/release', '{}'],
  ['POST', '/v1/nodes/x/rotate-identity', '{}'],
  ['POST', '/v1/nodes/x/rotate-wireguard', '{}'],
  ['GET', '/v1/audit', undefined],
])('%s %s does nothing if it cannot be recorded', async (method, path, body) => {
  const request = new Request(`https://gateway.test${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body !== undefined && { body }),
  })
  const response = await app.fetch(
    request,
    { ...env },
    { waitUntil: () => {}, passThroughOnException: () => {} },
  )
  const text = await response.text()
  expect([path, response.status]).toEqual([path, 500])
  expect(text).not.toContain('canary')
  expect(JSON.parse(text)).toMatchObject({ code: 'E_INTERNAL' })
  expect([statements, calls]).toEqual([[], []])
})
