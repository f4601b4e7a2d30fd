import { env } from 'cloudflare:workers'
import { beforeAll, expect, it } from 'vitest'
import { AuditList } from '../../protocol/audit.ts'
import { MAX_SECRET_BYTES } from '../../protocol/limits.ts'
import { change, changed, fetchSecrets, patch, put } from './secret-support.ts'
import { admin, enrolled, migrate, refusalOf, type TestNode } from './support.ts'

let node: TestNode
beforeAll(async () => {
  await migrate()
  node = await enrolled('codes', { tags: ['cpu'] as never })
})

const toNode = async (name: string, version?: number): Promise<Response> =>
  (await fetchSecrets(node, [{ name, ...(version !== undefined && { version }) }])).response

const allowed = '?allow-node=codes'
const policy = (rule: object, rest: object = {}) => ({
  policy: { rules: [{ effect: 'allow', ...rule }], ...rest },
})

/** Why a secret is refused, how one comes to that, and with which code. */
const CASES: Readonly<Record<string, readonly [code: string, status: number, () => Promise<Response>]>> = {
  'a node that no rule names': [
    'E_SECRET_DENIED',
    403,
    async () => {
      await put('r/node', 'x')
      return toNode('r/node')
    },
  ],
  'a node without the tag': [
    'E_SECRET_TAG',
    403,
    async () => {
      await put('r/tag', 'x', '?allow-tag=gpu')
      return toNode('r/tag')
    },
  ],
  'a job of another name': [
    'E_SECRET_WORKLOAD',
    403,
    async () => {
      await put('r/job', 'x')
      await changed(patch('r/job', policy({ nodes: ['codes'], workloads: ['train'] })))
      return toNode('r/job')
    },
  ],
  'a node that a rule denies': [
    'E_SECRET_DENY_RULE',
    403,
    async () => {
      await put('r/deny', 'x', allowed)
      const rules = [
        { effect: 'allow', nodes: ['codes'] },
        { effect: 'deny', tags: ['cpu'] },
      ]
      await changed(patch('r/deny', { policy: { rules } }))
      return toNode('r/deny')
    },
  ],
  'a policy that has expired': [
    'E_SECRET_POLICY_EXPIRED',
    403,
    async () => {
      await put('r/late', 'x')
      await changed(patch('r/late', policy({ nodes: ['codes'] }, { expires: '2020-01-01T00:00:00Z' })))
      return toNode('r/late')
    },
  ],
  'a name that is not there': ['E_SECRET_NOT_FOUND', 404, () => toNode('r/nothing')],
  'a version that is not there': [
    'E_SECRET_VERSION_NOT_FOUND',
    404,
    async () => {
      await put('r/version', 'x', allowed)
      return toNode('r/version', 7)
    },
  ],
  'a version that was rotated away': [
    'E_SECRET_VERSION_ENDED',
    403,
    async () => {
      await put('r/old', 'x', allowed)
      await put('r/old', 'y')
      return toNode('r/old', 1)
    },
  ],
  'a version that was deleted': [
    'E_SECRET_DELETED',
    410,
    async () => {
      await put('r/deleted', 'x', allowed)
      await changed(change('r/deleted', 'delete'))
      return toNode('r/deleted')
    },
  ],
  'a version that was destroyed': [
    'E_SECRET_DESTROYED',
    410,
    async () => {
      await put('r/destroyed', 'x', allowed)
      await changed(change('r/destroyed', 'destroy'))
      return toNode('r/destroyed')
    },
  ],
  'a frame that was changed': [
    'E_SECRET_CORRUPT',
    500,
    async () => {
      await put('r/corrupt', 'x', allowed)
      await env.DB.prepare("UPDATE secret_versions SET frame = zeroblob(40) WHERE name = 'r/corrupt'").run()
      return toNode('r/corrupt')
    },
  ],
  'a key that was retired': [
    'E_KEY_RETIRED',
    500,
    async () => {
      await put('r/retired', 'x', allowed)
      await env.DB.prepare("UPDATE secret_versions SET key_version = 99 WHERE name = 'r/retired'").run()
      return toNode('r/retired')
    },
  ],
  'a write on another version': [
    'E_SECRET_CAS',
    409,
    async () => {
      await put('r/cas', 'x')
      return put('r/cas', 'y', '?cas=5')
    },
  ],
  'a write that must name what it replaces': [
    'E_SECRET_CAS_REQUIRED',
    400,
    async () => {
      await put('r/must', 'x')
      await changed(patch('r/must', { casRequired: true }))
      return put('r/must', 'y')
    },
  ],
  'a value over the limit': [
    'E_SECRET_TOO_LARGE',
    413,
    () => put('r/large', new Uint8Array(MAX_SECRET_BYTES + 1)),
  ],
  'a name against the rule': ['E_SECRET_NAME', 400, () => put('R/Name', 'x')],
  'a sealed value for a managed path': [
    'E_SECRET_CLASS',
    409,
    async () => {
      await put('r/class', 'x')
      const ciphertext = btoa(`age-encryption.org/v1\n${'.'.repeat(200)}`)
      return change('r/class', 'sealed', { ciphertext, recipients: [] })
    },
  ],
  'a sealed value that is no age file': [
    'E_SECRET_SEALED_FORM',
    400,
    () => change('r/form', 'sealed', { ciphertext: btoa('x'.repeat(200)), recipients: [] }),
  ],
}

it('has a code for each', () => {
  const codes = Object.values(CASES).map(([code]) => code)
  expect(new Set(codes).size).toBe(codes.length)
})

it.each(Object.entries(CASES))('refuses %s, and says so in the trail', async (_, [code, status, refused]) => {
  const response = await refused()
  const request = response.headers.get('claw-request')
  expect(await refusalOf(response)).toEqual({ status, code })
  const { items } = AuditList.parse(await (await admin('GET', '/v1/audit?limit=20')).json())
  const recorded = items.filter(({ requestId, outcome }) => requestId === request && outcome !== 'allowed')
  expect(recorded.map(({ reason }) => reason).join()).toContain(code)
})
